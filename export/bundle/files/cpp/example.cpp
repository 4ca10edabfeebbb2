// Label the parts of a face: example [IMAGE.ppm] [--model FILE] [--output OUT.ppm]
// Run it in the bundle's folder. Without IMAGE it takes sample.ppm and compares the labels with
// expected.pgm. Pictures are binary PPM, so that ONNX Runtime is the only dependency.
#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <regex>
#include <stdexcept>
#include <string>
#include <vector>

struct Picture {
  int width, height;
  std::vector<uint8_t> bytes;  // row by row, the channels of a pixel side by side
};

// Read a binary file with 8 bits a channel, PPM ("P6", three channels) or PGM ("P5", one).
Picture read(const std::string& path, const std::string& kind) {
  std::ifstream file(path, std::ios::binary);
  auto word = [&file] {
    std::string text, comment;
    while (file >> text && text[0] == '#') std::getline(file, comment);
    return text;
  };
  const std::string found = word(), width = word(), height = word(), largest = word();
  if (found != kind || largest != "255")
    throw std::runtime_error(path + ": cannot be read as " + kind + " with 8 bits a channel");
  Picture picture{std::stoi(width), std::stoi(height), {}};
  picture.bytes.resize(size_t(picture.width) * picture.height * (kind == "P6" ? 3 : 1));
  file.get();  // one white space ends the header
  file.read(reinterpret_cast<char*>(picture.bytes.data()), picture.bytes.size());
  if (!file) throw std::runtime_error(path + ": is truncated");
  return picture;
}

// Put RGB into the middle of a square of its longer side; grey fills the rest.
Picture padded(const Picture& old) {
  const int side = std::max(old.width, old.height);
  Picture result{side, side, std::vector<uint8_t>(size_t(side) * side * 3, 127)};
  const int left = (side - old.width) / 2, top = (side - old.height) / 2;
  for (int row = 0; row < old.height; ++row)
    std::copy_n(old.bytes.begin() + size_t(row) * old.width * 3, size_t(old.width) * 3,
                result.bytes.begin() + (size_t(row + top) * side + left) * 3);
  return result;
}

// Resize RGB to a square; each new pixel is the mean of the old ones that it covers.
std::vector<uint8_t> square(const Picture& old, int size) {
  std::vector<uint8_t> result;
  for (int i = 0; i < size * size * 3; ++i) {
    const int x = i / 3 % size, y = i / 3 / size;
    const int left = x * old.width / size, right = std::max(left + 1, (x + 1) * old.width / size);
    const int top = y * old.height / size, bottom = std::max(top + 1, (y + 1) * old.height / size);
    int sum = 0;
    for (int row = top; row < bottom; ++row)
      for (int column = left; column < right; ++column)
        sum += old.bytes[(size_t(row) * old.width + column) * 3 + i % 3];
    result.push_back(uint8_t(sum / ((bottom - top) * (right - left))));
  }
  return result;
}

// Return the group of every match: enough to read lists of names and of numbers from JSON.
std::vector<std::string> find(const std::string& text, const std::string& pattern) {
  const std::regex expression(pattern);
  return {std::sregex_token_iterator(text.begin(), text.end(), expression, 1), {}};
}

int main(int count, char** arguments) try {
  std::ifstream file("bundle.json");
  const std::string bundle(std::istreambuf_iterator<char>(file), {});
  if (bundle.empty()) throw std::runtime_error("bundle.json is not here; run this in its folder");
  std::string path, output, model = find(bundle, R"re("reference": "(.*?)")re").at(0);
  for (int i = 1; i < count; ++i) {
    const std::string word = arguments[i];
    if (word == "--model" && i + 1 < count) model = arguments[++i];
    else if (word == "--output" && i + 1 < count) output = arguments[++i];
    else path = word;
  }
  Ort::Env env(ORT_LOGGING_LEVEL_WARNING, "example");
  Ort::Session session(env, std::filesystem::path(model).c_str(), Ort::SessionOptions{});
  Ort::AllocatorWithDefaultOptions allocator;
  const Ort::ModelMetadata metadata = session.GetModelMetadata();
  auto lookup = [&](const char* key) {
    const auto value = metadata.LookupCustomMetadataMapAllocated(key, allocator);
    return std::string(value ? value.get() : throw std::runtime_error(model + ": lacks " + key));
  };
  const int size = std::stoi(lookup("input_size")), pixels = size * size;
  const auto classes = find(lookup("classes"), R"re("(.*?)")re");
  const auto palette = find(lookup("palette"), "([0-9]+)");

  const Picture picture = read(path.empty() ? "sample.ppm" : path, "P6");
  auto image = square(padded(picture), size);
  const int64_t shape[] = {1, size, size, 3};
  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  const auto input = Ort::Value::CreateTensor(memory, image.data(), image.size(), shape, 4);
  const char *inputs[] = {"image"}, *outputs[] = {"labels"};
  auto infer = [&] { return session.Run(Ort::RunOptions{}, inputs, &input, 1, outputs, 1); };
  infer();  // the first run also prepares memory
  const auto start = std::chrono::steady_clock::now();
  const auto results = infer();
  const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - start;
  const uint8_t* labels = results[0].GetTensorData<uint8_t>();

  for (size_t i = 0; i < classes.size(); ++i)
    std::printf("%-12s %6.2f%%\n", classes[i].c_str(),
                100.0 * std::count(labels, labels + pixels, i) / pixels);
  std::printf("%s: %.1f ms\n", model.c_str(), time.count());
  if (!output.empty()) {
    std::ofstream coloured(output, std::ios::binary);
    coloured << "P6\n" << picture.width << " " << picture.height << "\n255\n";
    for (int i = 0; i < picture.width * picture.height; ++i) {
      const int side = std::max(picture.width, picture.height);
      const int x = (i % picture.width + (side - picture.width) / 2) * size / side;
      const int y = (i / picture.width + (side - picture.height) / 2) * size / side;
      for (int channel = 0; channel < 3; ++channel)
        coloured.put(char(std::stoi(palette.at(3 * labels[y * size + x] + channel))));
    }
    if (!coloured.flush()) throw std::runtime_error(output + ": cannot be written");
  }
  if (!path.empty()) return 0;
  const auto expected = read("expected.pgm", "P5").bytes;
  int same = 0;
  for (int i = 0; i < pixels; ++i) same += labels[i] == expected.at(i);
  const auto floors = find(bundle, '"' + model + R"re(": ([0-9.]+))re");
  const double agreement = double(same) / pixels;
  const double floor = floors.empty() ? 0.999 : std::stod(floors[0]);
  std::printf("%.4f%% of the pixels agree with expected.pgm (floor %.1f%%)\n", 100 * agreement,
              100 * floor);
  return agreement < floor;
} catch (const std::exception& error) {
  std::fprintf(stderr, "example: %s\n", error.what());
  return 2;
}
