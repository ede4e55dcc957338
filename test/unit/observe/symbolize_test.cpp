#include "observe/symbolize.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace market {

[[gnu::noinline]] std::uintptr_t plain(int) { return reinterpret_cast<std::uintptr_t>(__builtin_return_address(0)); }

template <class T>
struct stall {
  template <class U>
  [[gnu::noinline]] static std::uintptr_t sell(std::vector<U>, const T&) {
    return reinterpret_cast<std::uintptr_t>(__builtin_return_address(0));
  }
};

// Inlined into its caller; the line of the call below is known.
[[gnu::always_inline]] inline std::uintptr_t inner() { return plain(1); }
constexpr int line_of_inner = __LINE__ - 1;

[[gnu::noinline]] std::uintptr_t outer() {
  const std::uintptr_t pc = inner();
  asm volatile("");  // no tail call
  return pc;
}
constexpr int line_of_call = __LINE__ - 4;

}  // namespace market

namespace {

using testing::EndsWith;
using testing::HasSubstr;
using weft::rt::readable;
using weft::rt::readable_type;
using weft::rt::symbol;
using weft::rt::symbolizer;

template <class F>
std::uintptr_t address(F* f) {
  return reinterpret_cast<std::uintptr_t>(f);
}

constexpr const char* missing = "libnosuch-dw.so.1";

bool has_lines(const symbolizer& names) { return names.look_up(address(&market::outer)).calls.back().line > 0; }

TEST(Symbolizer, PlainFunction) {
  const symbolizer names;
  if (!names.complete()) GTEST_SKIP() << "libdw is not installed";
  const symbol sym = names.look_up(address(&market::plain));
  EXPECT_EQ(sym.calls.back().function, "market::plain(int)");
  EXPECT_TRUE(sym.has_offset);
  EXPECT_EQ(sym.offset, 0u);
  EXPECT_FALSE(sym.calls.back().inlined);
  if (!has_lines(names)) GTEST_SKIP() << "a build without debug information";
  EXPECT_THAT(sym.calls.back().file, EndsWith("/symbolize_test.cpp"));
  EXPECT_EQ(sym.calls.back().file[0], '/');
  EXPECT_GT(sym.calls.back().line, 10);
  EXPECT_LT(sym.calls.back().line, market::line_of_inner);
}

TEST(Symbolizer, NestedTemplate) {
  const symbolizer names;
  if (!names.complete()) GTEST_SKIP() << "libdw is not installed";
  using stall = market::stall<std::vector<std::string>>;
  std::uintptr_t (*f)(std::vector<std::pair<int, std::string>>, const std::vector<std::string>&) = &stall::sell;
  const std::string function = names.look_up(address(f)).calls.back().function;
  EXPECT_THAT(function, HasSubstr("market::stall<std::vector<std::string, std::allocator<std::string > > >::sell<"))
      << function;
  EXPECT_EQ(function.find("basic_string"), std::string::npos) << function;
}

TEST(Symbolizer, InlinedCall) {
  const symbolizer names;
  if (!names.complete()) GTEST_SKIP() << "libdw is not installed";
  const symbol sym = names.look_up(market::outer() - 1);
  EXPECT_EQ(sym.calls.back().function, "market::outer()");
  if (!has_lines(names)) GTEST_SKIP() << "a build without debug information";
  ASSERT_EQ(sym.calls.size(), 2u);
  EXPECT_EQ(sym.calls[0].function, "market::inner()");
  EXPECT_TRUE(sym.calls[0].inlined);
  EXPECT_EQ(sym.calls[0].line, market::line_of_inner);
  EXPECT_EQ(sym.calls[1].line, market::line_of_call);
  EXPECT_THAT(sym.calls[1].file, EndsWith("/symbolize_test.cpp"));
}

// A lambda has no linkage name and is a member of a class in a function: the hard case of the tree.
TEST(Symbolizer, Lambda) {
  const symbolizer names;
  if (!names.complete()) GTEST_SKIP() << "libdw is not installed";
  const auto lambda = []() __attribute__((noinline)) {
    const std::uintptr_t pc = market::plain(2);
    asm volatile("");
    return pc;
  };
  const int line = __LINE__ - 4;
  const symbol sym = names.look_up(lambda() - 1);
  EXPECT_THAT(sym.calls.back().function, HasSubstr("TestBody()::"));
  EXPECT_THAT(sym.calls.back().function, HasSubstr("operator()"));
  if (!has_lines(names)) GTEST_SKIP() << "a build without debug information";
  EXPECT_EQ(sym.calls.size(), 1u);
  EXPECT_EQ(sym.calls.back().line, line);
}

TEST(Symbolizer, LibraryOfC) {
  const symbolizer names;
  if (!names.complete()) GTEST_SKIP() << "libdw is not installed";
  void* in_libc = reinterpret_cast<void*>(&::malloc_usable_size);
  const symbol sym = names.look_up(reinterpret_cast<std::uintptr_t>(in_libc));
  EXPECT_THAT(sym.calls.back().function, HasSubstr("malloc_usable_size"));
  EXPECT_FALSE(sym.module.empty());
}

TEST(Symbolizer, NoCodeThere) {
  const symbolizer names;
  for (const std::uintptr_t pc : {std::uintptr_t{0}, std::uintptr_t{1}, ~std::uintptr_t{0}}) {
    const symbol sym = names.look_up(pc);
    ASSERT_EQ(sym.calls.size(), 1u);
    EXPECT_EQ(sym.calls[0].function, "");
    EXPECT_EQ(sym.calls[0].file, "");
  }
}

TEST(Symbolizer, WithoutLibdw) {
  const symbolizer names(missing);
  EXPECT_FALSE(names.complete());
  // Symbols of shared libraries are there all the same, and the module of everything.
  void* in_libc = reinterpret_cast<void*>(&::malloc_usable_size);
  const symbol libc = names.look_up(reinterpret_cast<std::uintptr_t>(in_libc));
  EXPECT_THAT(libc.calls.back().function, HasSubstr("malloc_usable_size"));
  const symbol own = names.look_up(address(&market::plain));
  EXPECT_FALSE(own.module.empty());
  EXPECT_GT(own.module_offset, 0u);
  EXPECT_EQ(own.calls.back().line, 0);
}

// A library of that name which is not libdw.
TEST(Symbolizer, WrongLibrary) { EXPECT_FALSE(symbolizer("libc.so.6").complete()); }

TEST(Symbolizer, TwiceAndTogether) {
  const symbolizer one, two;
  EXPECT_EQ(one.look_up(address(&market::plain)).calls.back().function,
            two.look_up(address(&market::plain)).calls.back().function);
}

TEST(Readable, Names) {
  EXPECT_EQ(readable("_ZN6market5plainEi"), "market::plain(int)");
  EXPECT_EQ(readable("_ZN4weft2v02goEv"), "weft::go()");
  EXPECT_EQ(readable("_Z1fv.part.0"), "f()");
  EXPECT_EQ(readable("_Z1fNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"), "f(std::string)");
  EXPECT_EQ(readable("main"), "main");
  EXPECT_EQ(readable("i"), "i");  // a C function may be called so
  EXPECT_EQ(readable("_Zjunk"), "_Zjunk");
  EXPECT_EQ(readable(""), "");
  EXPECT_EQ(readable_type("i"), "int");
  EXPECT_EQ(readable_type("St13runtime_error"), "std::runtime_error");
}

}  // namespace
