// The page needs no bundling: it is its sources and these files of ONNX Runtime, as published.
import { cp, mkdir, rm } from "node:fs/promises";

const FILES = [
  "ort.wasm.min.mjs", // for processors
  "ort-wasm-simd-threaded.mjs",
  "ort-wasm-simd-threaded.wasm",
  "ort.webgpu.min.mjs", // for graphics cards; fetched only where there is one
  "ort-wasm-simd-threaded.asyncify.mjs",
  "ort-wasm-simd-threaded.asyncify.wasm",
];
const from = new URL("node_modules/onnxruntime-web/dist/", import.meta.url);
const to = new URL("page/onnxruntime/", import.meta.url);

await rm(to, { recursive: true, force: true });
await mkdir(to);
await Promise.all(FILES.map((file) => cp(new URL(file, from), new URL(file, to))));
