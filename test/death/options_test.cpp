// Bad options and variables are errors that name what is wrong, its value, and what would be right.
#include "death/ending.hpp"

namespace {

using death::ending;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

void expect_refused(const ending& e, const std::string& name, const std::string& value) {
  EXPECT_EQ(e.status, 3) << name << "=" << value << ": " << testing::PrintToString(e);
  EXPECT_THAT(e.out, AllOf(StartsWith("weft::error: "), HasSubstr(name), HasSubstr(value)))
      << testing::PrintToString(e);
  EXPECT_EQ(e.err, "");
}

void expect_ran(const ending& e, const std::string& what) {
  EXPECT_EQ(e.status, 0) << what << ": " << testing::PrintToString(e);
  EXPECT_EQ(e.out, "ran\n") << what;
  EXPECT_EQ(e.err, "") << what;
}

TEST(Environment, BadValues) {
  const std::pair<const char*, std::vector<const char*>> table[] = {
      {"WEFT_PROCS", {"abc", "0", "-3", "1000000000", "", " 2", "2 ", "2x", "1.5", "0x2", "99999999999999999999"}},
      {"WEFT_STACK_SIZE", {"0", "1", "1T", "1023", "9M", "-1", "64KB", "K", "", "18446744073709551616", "8388609"}},
      {"WEFT_MAX_THREADS", {"0", "-1", "many", ""}},
      {"WEFT_ON_MAIN_RETURN", {"wait", "", "Cancel", "cancel "}},
      {"WEFT_SHUTDOWN_TIMEOUT", {"", "soon", "-1", "5 s", "5d", "1.2.3", "s", "1e3", " 5", "9999999999999"}},
      {"WEFT_DEADLOCK", {"", "yes", "ON", "off ", "1"}},
  };
  for (const auto& [name, values] : table) {
    for (const char* value : values) {
      const ending e = death::run("options", {}, {std::string(name) + "=" + value});
      expect_refused(e, name, value);
    }
  }
}

TEST(Environment, GoodValues) {
  for (const char* variable : {"WEFT_PROCS=1",
                               "WEFT_PROCS=3",
                               "WEFT_STACK_SIZE=16384",
                               "WEFT_STACK_SIZE=64K",
                               "WEFT_STACK_SIZE=8M",
                               "WEFT_MAX_THREADS=100",
                               "WEFT_ON_MAIN_RETURN=cancel",
                               "WEFT_SHUTDOWN_TIMEOUT=0",
                               "WEFT_SHUTDOWN_TIMEOUT=0.5",
                               "WEFT_SHUTDOWN_TIMEOUT=500ms",
                               "WEFT_SHUTDOWN_TIMEOUT=10s",
                               "WEFT_SHUTDOWN_TIMEOUT=5m",
                               "WEFT_SHUTDOWN_TIMEOUT=1.5h",
                               "WEFT_DEADLOCK=on",
                               "WEFT_DEADLOCK=off",
                               "WEFT_DEBUG=membarrier=off,rest=50",
                               "WEFT_DEBUG=",
                               "WEFT_DEBUG=seed=7",
                               "WEFT_DEBUG=seed=7,spin=0",
                               "WEFTLESS=1"}) {
    expect_ran(death::run("options", {}, {variable}), variable);
  }
  const ending e = death::run("options", {}, {"WEFT_ON_MAIN_RETURN=exit"});
  EXPECT_EQ(e.status, 0) << testing::PrintToString(e);
}

TEST(Environment, UnknownVariableListsTheKnown) {
  const ending e = death::run("options", {}, {"WEFT_FOO=bar"});
  expect_refused(e, "WEFT_FOO", "bar");
  for (const char* known : {"WEFT_PROCS", "WEFT_STACK_SIZE", "WEFT_MAX_THREADS", "WEFT_ON_MAIN_RETURN",
                            "WEFT_SHUTDOWN_TIMEOUT", "WEFT_DEADLOCK", "WEFT_DEBUG"}) {
    EXPECT_THAT(e.out, HasSubstr(known));
  }
}

TEST(Environment, UnknownKnobListsTheKnown) {
  for (const char* debug : {"nosuch=1", "nosuch", "seed=7,nosuch=1"}) {
    const ending e = death::run("options", {}, {std::string("WEFT_DEBUG=") + debug});
    expect_refused(e, "WEFT_DEBUG", "nosuch");
    for (const char* known :
         {"schedtrace", "scheddetail", "schedformat", "rest", "membarrier", "seed", "guard", "spin"})
      EXPECT_THAT(e.out, HasSubstr(known));
  }
}

TEST(Environment, BadKnobValue) {
  for (const char* value : {"x", "-1", "99999999999999999999"}) {
    expect_refused(death::run("options", {}, {std::string("WEFT_DEBUG=schedtrace=") + value}), "schedtrace", value);
  }
  const std::pair<const char*, const char*> table[] = {{"guard", "fence"},      {"membarrier", "no"},
                                                       {"schedformat", "1.24"}, {"scheddetail", "2"},
                                                       {"rest", "3600001"},     {"rest", "soon"}};
  for (const auto& [name, value] : table) {
    expect_refused(death::run("options", {}, {std::string("WEFT_DEBUG=") + name + "=" + value}), name, value);
  }
}

// WEFT_DEBUG applies also where the program gives the options itself; the option variables do not.
TEST(Environment, OptionsOfTheProgramWin) {
  expect_ran(death::run("options", {"procs", "2"}, {"WEFT_PROCS=abc"}), "WEFT_PROCS with options");
  expect_refused(death::run("options", {"procs", "2"}, {"WEFT_DEBUG=nosuch=1"}), "WEFT_DEBUG", "nosuch");
}

TEST(Options, BadValues) {
  const std::pair<const char*, std::vector<const char*>> table[] = {
      {"procs", {"-1", "-2147483648", "4097", "2147483647"}},
      {"max_threads", {"0", "-5"}},
      {"stack_size", {"0", "1", "1099511627776", "8388609", "18446744073709551614"}},
      {"on_main_return", {"17", "-1"}},
      {"shutdown_timeout", {"-1", "-9223372036854775808"}},
  };
  for (const auto& [name, values] : table) {
    for (const char* value : values) expect_refused(death::run("options", {name, value}), name, value);
  }
}

TEST(Options, GoodValues) {
  expect_ran(death::run("options", {"procs", "0"}), "procs 0");
  expect_ran(death::run("options", {"procs", "5"}), "procs 5");
  expect_ran(death::run("options", {"stack_size", "16384"}), "stack_size 16384");
  expect_ran(death::run("options", {"stack_size", "100000"}), "stack_size 100000");
  expect_ran(death::run("options", {"attrs_stack_size", "8388608"}), "attrs 8 MiB");
}

TEST(Attributes, BadStackSize) {
  for (const char* value : {"0", "1", "1099511627776", "8388609"}) {
    expect_refused(death::run("options", {"attrs_stack_size", value}), "stack_size", value);
  }
}

}  // namespace
