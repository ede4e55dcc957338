// Two blocking client libraries as Debian has them, in 50 goroutines on two Ps, against real servers: libpq against PostgreSQL,
// hiredis against Redis. Each server is this test's own, in a directory that goes with it, and listens on a unix socket only.
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "death/ending.hpp"
#include "support/build.hpp"

namespace {

using death::ending;
using namespace weft;

[[maybe_unused]] const int seconds = test::built_with_sanitizer ? 300 : 60;

// Servers do not run as root, and PostgreSQL refuses to.
const passwd* unprivileged() { return ::geteuid() == 0 ? ::getpwnam("nobody") : nullptr; }

class directory {
 public:
  directory() {
    if (::mkdtemp(path_) == nullptr) std::abort();
    if (const passwd* user = unprivileged()) static_cast<void>(!::chown(path_, user->pw_uid, user->pw_gid));
  }
  ~directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  directory(const directory&) = delete;
  directory& operator=(const directory&) = delete;
  std::string path() const { return path_; }

 private:
  char path_[32] = "/tmp/weft_server_XXXXXX";
};

// A program that ends with this object, and when the test does. What it says is in a file.
class process {
 public:
  process(const std::vector<std::string>& command, const std::string& log, int stop) : log_(log), stop_(stop) {
    std::vector<char*> argv;
    for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    const passwd* user = unprivileged();
    pid_ = ::fork();
    if (pid_ != 0) return;
    if (user != nullptr &&
        (::setgroups(0, nullptr) != 0 || ::setgid(user->pw_gid) != 0 || ::setuid(user->pw_uid) != 0)) {
      ::_exit(97);
    }
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    ::dup2(out, 1);
    ::dup2(out, 2);
    if (::chdir("/") != 0) ::_exit(97);
    ::setenv("LC_ALL", "C", 1);
    ::execvp(argv[0], argv.data());
    ::_exit(98);
  }
  ~process() {
    if (pid_ <= 0) return;
    ::kill(pid_, stop_);
    wait();
  }
  process(const process&) = delete;
  process& operator=(const process&) = delete;

  int wait() {
    int status = -1;
    ::waitpid(pid_, &status, 0);
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  std::string said() const {
    std::ostringstream text;
    text << std::ifstream(log_).rdbuf();
    return text.str();
  }

 private:
  std::string log_;
  int stop_;
  pid_t pid_ = 0;
};

void expect_all_served(const std::string& program, const std::string& where, const process& server) {
  const ending e = death::run_program(WEFT_TEST_STALLS_DIR "/" + program, {where}, {}, seconds);
  std::cout << "  " << e.out;
  EXPECT_EQ(e.status, 0) << testing::PrintToString(e) << "\nthe server:\n" << server.said();
  EXPECT_EQ(e.err, "");
}

TEST(client_libraries, libpq_in_fifty_goroutines) {
  const std::string missing = WEFT_TEST_NO_POSTGRES;
  if (!missing.empty()) GTEST_SKIP() << "no " << missing << ": apt-get install libpq-dev postgresql";
  const directory home;
  const std::string bin = WEFT_TEST_POSTGRES_BIN, data = home.path() + "/data", log = home.path() + "/log";
  process init({bin + "/initdb", "-D", data, "-U", "postgres", "-A", "trust", "-N", "--locale=C", "-E", "UTF8"}, log,
               SIGKILL);
  ASSERT_EQ(init.wait(), 0) << init.said();
  const process server({bin + "/postgres", "-D", data, "-k", home.path(), "-c", "listen_addresses=", "-c", "fsync=off",
                        "-c", "shared_buffers=16MB"},
                       log, SIGINT);
  expect_all_served("postgres", home.path(), server);
}

TEST(client_libraries, hiredis_in_fifty_goroutines) {
  const std::string missing = WEFT_TEST_NO_REDIS;
  if (!missing.empty()) GTEST_SKIP() << "no " << missing << ": apt-get install libhiredis-dev redis-server";
  const directory home;
  const std::string socket = home.path() + "/socket";
  const process server(
      {WEFT_TEST_REDIS_SERVER, "--port", "0", "--unixsocket", socket, "--save", "", "--dir", home.path()},
      home.path() + "/log", SIGTERM);
  expect_all_served("redis", socket, server);
}

}  // namespace
