#include "base/print.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <string>

namespace {

using weft::rt::line;

TEST(line, writes_unsigned_numbers_of_any_size) {
  EXPECT_STREQ("0", line{}.number(0).c_str());
  EXPECT_STREQ("9 10 99 100", line{}.number(9).text(" ").number(10).text(" ").number(99).text(" ").number(100).c_str());
  EXPECT_STREQ("18446744073709551615", line{}.number(UINT64_MAX).c_str());
}

TEST(line, writes_signed_numbers_of_any_size) {
  EXPECT_STREQ("0", line{}.signed_number(0).c_str());
  EXPECT_STREQ("-1", line{}.signed_number(-1).c_str());
  EXPECT_STREQ("9223372036854775807", line{}.signed_number(INT64_MAX).c_str());
  EXPECT_STREQ("-9223372036854775808", line{}.signed_number(INT64_MIN).c_str());
}

TEST(line, writes_hexadecimal_numbers_without_leading_zeros) {
  EXPECT_STREQ("0x0", line{}.hex(0).c_str());
  EXPECT_STREQ("0xdeadbeef", line{}.hex(0xdeadbeef).c_str());
  EXPECT_STREQ("0xffffffffffffffff", line{}.hex(UINT64_MAX).c_str());
}

TEST(line, writes_sizes_in_the_largest_unit_that_is_exact) {
  EXPECT_STREQ("0 bytes", line{}.bytes(0).c_str());
  EXPECT_STREQ("1000 bytes", line{}.bytes(1000).c_str());
  EXPECT_STREQ("256 KiB", line{}.bytes(256u << 10).c_str());
  EXPECT_STREQ("1025 KiB", line{}.bytes(1025u << 10).c_str());
  EXPECT_STREQ("8 MiB", line{}.bytes(8u << 20).c_str());
  EXPECT_STREQ("1048577 bytes", line{}.bytes((1u << 20) + 1).c_str());
}

TEST(line, cuts_what_does_not_fit) {
  line l;
  for (int i = 0; i < 300; ++i) l.text("12345678");
  const std::string all = l.c_str();
  EXPECT_EQ(999u, all.size());
  EXPECT_EQ("12345671234567", (l.text("more"), all.substr(0, 7) + all.substr(all.size() - 7)));
  EXPECT_EQ(all, l.c_str());
}

TEST(line, takes_text_that_is_not_ended_by_zero) { EXPECT_STREQ("ab", line{}.text("abcd", 2).c_str()); }

// Stderr as a packet pipe: one read returns one write.
class line_output : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(0, ::pipe2(pipe_, O_DIRECT | O_NONBLOCK));
    saved_ = ::dup(2);
    ::dup2(pipe_[1], 2);
  }
  void TearDown() override {
    ::dup2(saved_, 2);
    for (const int fd : {pipe_[0], pipe_[1], saved_}) ::close(fd);
  }
  std::string written() {
    char buf[4096];
    const ssize_t n = ::read(pipe_[0], buf, sizeof buf);
    return n > 0 ? std::string(buf, static_cast<std::size_t>(n)) : std::string();
  }
  int pipe_[2] = {-1, -1};
  int saved_ = -1;
};

TEST_F(line_output, a_line_goes_to_stderr_in_one_write_and_is_empty_then) {
  line l;
  l.text("one ").number(1).text("\n").flush_sig();
  EXPECT_STREQ("", l.c_str());
  l.text("two\n").flush_sig();
  EXPECT_EQ("one 1\n", written());
  EXPECT_EQ("two\n", written());
  EXPECT_EQ("", written());
}

TEST_F(line_output, a_closed_stderr_does_not_hang) {
  ::close(2);
  line{}.text("nobody reads this\n").flush_sig();
  ::dup2(pipe_[1], 2);
  EXPECT_EQ("", written());
}

}  // namespace
