#include "formats/npy.h"

#include <doctest/doctest.h>

#include <cstring>

#include "base/mapped_file.h"
#include "formats/temporary_folder_test.h"

namespace lapidary {

TEST_CASE("npy files have an aligned header and the values") {
  const TemporaryFolder folder;
  const std::string path = (folder.path() / "x.npy").string();
  const float values[] = {1, 2, 3, 4, 5, 6};
  const int64_t shape[] = {2, 3};
  REQUIRE(write_npy(path, values, shape).has_value());
  const std::string bytes = read_file(path, 1 << 20).value();
  CHECK(bytes.substr(0, 8) == std::string("\x93NUMPY\x01\x00", 8));
  CHECK(bytes.find("'descr': '<f4'") != std::string::npos);
  CHECK(bytes.find("'shape': (2, 3, )") != std::string::npos);
  const size_t header = bytes.size() - sizeof(values);
  CHECK(header % 64 == 0);
  CHECK(static_cast<size_t>(bytes[8]) + 256 * static_cast<size_t>(bytes[9]) == header - 10);
  CHECK(bytes[header - 1] == '\n');
  CHECK(std::memcmp(bytes.data() + header, values, sizeof(values)) == 0);
  CHECK(!write_npy((folder.path() / "no" / "x.npy").string(), values, shape).has_value());
}

}  // namespace lapidary
