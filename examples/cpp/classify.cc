// Clusters raw images with an encoder that `nvisa-tf export --format tflite` wrote, through LiteRT's C API.
//
//   classify ENCODER.tflite IMAGES.raw
//
// IMAGES.raw holds the images' values one after the other, as the data set has them: bytes, or float32 for an encoder of floats.
// Prints a line an image: its cluster, and that cluster's probability. Build: see README.md beside this file.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "litert.h"

namespace {

[[noreturn]] void Refuse(const std::string& why) {
  std::fprintf(stderr, "classify: %s\n", why.c_str());
  std::exit(2);
}

void Check(LiteRtStatus status, const char* what) {
  if (status != 0) Refuse(std::string(what) + " (LiteRT status " + std::to_string(status) + ")");
}

// The number of the signature with this name.
size_t FindSignature(LiteRtModel model, const std::string& name, LiteRtSignature* signature) {
  size_t count = 0;
  Check(LiteRtGetNumModelSignatures(model, &count), "no signatures");
  for (size_t i = 0; i < count; ++i) {
    const char* key = nullptr;
    Check(LiteRtGetModelSignature(model, i, signature), "no signature");
    Check(LiteRtGetSignatureKey(*signature, &key), "no signature key");
    if (name == key) return i;
  }
  Refuse("the file has no signature '" + name + "'; it is not an nvisa-tf encoder");
}

// The images' bytes; their number is a multiple of `image_bytes`.
std::vector<char> ReadImages(const char* path, size_t image_bytes) {
  std::ifstream file(path, std::ios::binary);
  if (!file) Refuse(std::string("cannot open ") + path);
  std::vector<char> bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (bytes.empty() || bytes.size() % image_bytes) {
    Refuse(std::string(path) + " has " + std::to_string(bytes.size()) + " bytes, which is no whole number of images of " +
           std::to_string(image_bytes) + " bytes");
  }
  return bytes;
}

void Copy(LiteRtTensorBuffer buffer, void* bytes, size_t size, bool write) {
  void* address = nullptr;
  const int mode = write ? kLiteRtTensorBufferLockModeWrite : kLiteRtTensorBufferLockModeRead;
  Check(LiteRtLockTensorBuffer(buffer, &address, mode), "cannot lock a buffer");
  write ? std::memcpy(address, bytes, size) : std::memcpy(bytes, address, size);
  Check(LiteRtUnlockTensorBuffer(buffer), "cannot unlock a buffer");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) Refuse("usage: classify ENCODER.tflite IMAGES.raw");

  LiteRtEnvironment environment = nullptr;
  LiteRtModel model = nullptr;
  Check(LiteRtCreateEnvironment(0, nullptr, &environment), "cannot start LiteRT");
  Check(LiteRtCreateModelFromFile(environment, argv[1], &model), "cannot load the encoder");
  LiteRtSignature signature = nullptr;
  const size_t cluster = FindSignature(model, "cluster", &signature);

  // The input's type; its first size is the batch, and the file says how many that is.
  const char* input_name = nullptr;
  LiteRtTensor tensor = nullptr;
  LiteRtRankedTensorType input_type{};
  Check(LiteRtGetSignatureInputName(signature, 0, &input_name), "no input");
  Check(LiteRtGetSignatureInputTensor(signature, input_name, &tensor), "no input");
  Check(LiteRtGetRankedTensorType(tensor, &input_type), "no input type");
  if (input_type.element_type != kLiteRtElementTypeUInt8 && input_type.element_type != kLiteRtElementTypeFloat32) {
    Refuse("this example takes encoders of bytes or floats");
  }
  size_t image_bytes = input_type.element_type == kLiteRtElementTypeFloat32 ? sizeof(float) : 1;
  for (unsigned i = 1; i < input_type.layout.rank; ++i) image_bytes *= input_type.layout.dimensions[i];
  std::vector<char> images = ReadImages(argv[2], image_bytes);
  const size_t n = images.size() / image_bytes;
  input_type.layout.dimensions[0] = static_cast<int32_t>(n);

  LiteRtOptions options = nullptr;
  LiteRtCompiledModel compiled = nullptr;
  Check(LiteRtCreateOptions(&options), "no options");
  Check(LiteRtSetOptionsHardwareAccelerators(options, kLiteRtHwAcceleratorCpu), "no CPU");
  Check(LiteRtCreateCompiledModel(environment, model, options, &compiled), "cannot prepare the encoder");
  Check(LiteRtCompiledModelResizeInputTensor(compiled, cluster, 0, input_type.layout.dimensions, input_type.layout.rank),
        "the encoder does not take so many images at once");

  LiteRtTensorBufferRequirements requirements = nullptr;
  LiteRtTensorBuffer input = nullptr;
  Check(LiteRtGetCompiledModelInputBufferRequirements(compiled, cluster, 0, &requirements), "no input buffer");
  Check(LiteRtCreateManagedTensorBufferFromRequirements(environment, &input_type, requirements, &input), "no input buffer");
  Copy(input, images.data(), images.size(), true);

  size_t n_outputs = 0;
  Check(LiteRtGetNumSignatureOutputs(signature, &n_outputs), "no outputs");
  std::vector<LiteRtLayout> layouts(n_outputs);
  Check(LiteRtGetCompiledModelOutputTensorLayouts(compiled, cluster, n_outputs, layouts.data(), true), "no output sizes");
  std::vector<LiteRtTensorBuffer> outputs(n_outputs);
  size_t at_cluster = n_outputs, at_probabilities = n_outputs, n_clusters = 0;
  for (size_t i = 0; i < n_outputs; ++i) {
    const char* name = nullptr;
    LiteRtRankedTensorType type{};
    Check(LiteRtGetSignatureOutputName(signature, i, &name), "no output");
    Check(LiteRtGetSignatureOutputTensor(signature, name, &tensor), "no output");
    Check(LiteRtGetRankedTensorType(tensor, &type), "no output type");
    type.layout = layouts[i];
    Check(LiteRtGetCompiledModelOutputBufferRequirements(compiled, cluster, i, &requirements), "no output buffer");
    Check(LiteRtCreateManagedTensorBufferFromRequirements(environment, &type, requirements, &outputs[i]), "no output buffer");
    if (std::string(name) == "cluster") at_cluster = i;
    if (std::string(name) == "probabilities" && type.element_type == kLiteRtElementTypeFloat32) {
      at_probabilities = i;
      n_clusters = layouts[i].dimensions[1];
    }
  }
  if (at_cluster == n_outputs || at_probabilities == n_outputs) Refuse("the file is not an nvisa-tf encoder with float outputs");

  Check(LiteRtRunCompiledModel(compiled, cluster, 1, &input, n_outputs, outputs.data()), "cannot run the encoder");
  std::vector<int32_t> clusters(n);
  std::vector<float> probabilities(n * n_clusters);
  Copy(outputs[at_cluster], clusters.data(), n * sizeof(int32_t), false);
  Copy(outputs[at_probabilities], probabilities.data(), probabilities.size() * sizeof(float), false);
  for (size_t i = 0; i < n; ++i) std::printf("%d %.6f\n", clusters[i], probabilities[i * n_clusters + clusters[i]]);

  for (LiteRtTensorBuffer output : outputs) LiteRtDestroyTensorBuffer(output);
  LiteRtDestroyTensorBuffer(input);
  LiteRtDestroyCompiledModel(compiled);
  LiteRtDestroyOptions(options);
  LiteRtDestroyModel(model);
  LiteRtDestroyEnvironment(environment);
}
