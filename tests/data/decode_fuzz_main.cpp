// Decodes mutations of stored chunks, each in memory of exactly its size, for AddressSanitizer to watch.
//
// decode_fuzz CHUNK CHUNK_BYTES MUTATIONS CODE ELEMENT BLOCK COMPRESSED [CODE ...]: the filters as in chunk_table.py.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <vector>

#include "../../csrc/chunks/decode.h"

int main(int argc, char** argv) {
  using namespace cdifast::chunks;
  std::ifstream file(argv[1], std::ios::binary);
  const std::vector<uint8_t> whole((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const int64_t chunk_bytes = std::atoll(argv[2]);
  const int mutations = std::atoi(argv[3]);
  std::vector<Filter> filters;
  for (int i = 4; i + 3 < argc; i += 4) {
    filters.push_back({static_cast<FilterCode>(std::atoi(argv[i])), std::atoll(argv[i + 1]), std::atoll(argv[i + 2]),
                       std::atoi(argv[i + 3]) != 0});
  }
  Decoder decoder(filters, chunk_bytes);
  std::mt19937_64 random(1);
  int64_t refused = 0;
  for (int trial = 0; trial <= mutations; ++trial) {
    std::vector<uint8_t> bytes = whole;
    if (trial > 0) {
      for (uint64_t change = 1 + random() % 8; change > 0; --change) {
        // Half of the changes near the start, where sizes stand.
        const uint64_t range = random() % 2 != 0 ? bytes.size() : std::min<uint64_t>(bytes.size(), 64);
        bytes[random() % range] = static_cast<uint8_t>(random() % 3 == 0 ? 255 : random());
      }
      if (random() % 2 != 0) bytes.resize(random() % (bytes.size() + 1));
    }
    const auto stored = std::make_unique<uint8_t[]>(bytes.size());
    std::copy(bytes.begin(), bytes.end(), stored.get());
    const auto chunk = std::make_unique<uint8_t[]>(static_cast<size_t>(chunk_bytes));
    const Fault fault = decoder.decode(stored.get(), static_cast<int64_t>(bytes.size()), chunk.get());
    if (trial == 0 && fault != Fault::none) return 1;  // the chunk itself
    refused += fault != Fault::none;
  }
  std::printf("%lld\n", static_cast<long long>(refused));
}
