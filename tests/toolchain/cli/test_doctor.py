import platform


def test_json_is_as_promised(cli) -> None:
    result = cli("doctor", "--json")
    assert result.code == 0
    assert result.err == ""
    found = result.document
    keys = {"python", "platform", "cpu", "gpus", "runtimes", "packages", "problems"}
    assert keys <= found.keys()
    assert found["python"] == platform.python_version()
    working = [entry["device"] for entry in found["runtimes"] if entry["works"]]
    assert "cpu" in working


def test_text_lists_what_is_missing_with_cost_and_remedy(cli, monkeypatch) -> None:
    from export import diagnosis

    monkeypatch.setattr(diagnosis, "_camera_works", lambda: False)
    monkeypatch.setattr(diagnosis, "_display_works", lambda: True)
    result = cli("doctor")
    assert result.code == 0
    assert "onnxruntime on cpu       works" in result.out
    assert "display                  works" in result.out
    missing = result.out[result.out.index("what it costs") :]
    assert "camera 0" in missing
    assert "connect a webcam" in missing
    assert "display " not in missing
