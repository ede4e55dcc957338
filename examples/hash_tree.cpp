// hash_tree: the SHA-256 of every regular file below the given directories, a goroutine for each file.
//
// Shows   plain blocking system calls in goroutines (weft::blocking gives the P away meanwhile), a
//         semaphore that bounds what is open at a time, exceptions, and what the runtime did.
// Run     build/release/examples/hash_tree [--open N] PATH...
// Prints  on stdout, as sha256sum does, one line per file in the order of the bytes of the paths:
//           find DIR -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | diff - <(hash_tree DIR)
//         on stderr, one line for each path that could not be read, "hash_tree: PATH: reason", and one at the end:
//           hash_tree: files=2155 bytes=31406223 seconds=0.094 goroutines=2156 threads=9 steals=812
//         Exit status 0; 1 if something could not be read; 2 for wrong usage.
// Go      sem := make(chan struct{}, n); for path := range walk { sem <- struct{}{}; wg.Go(func() { …; <-sem }) }
//
// What is hashed: regular files, and nothing else. In a directory, symbolic links, FIFOs, sockets and devices are
// passed over, as `find -type f` does; as an argument they are an error ("link/" names the directory behind the link).
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <openssl/evp.h>
#include <CLI/CLI.hpp>
#include <weft/debug.hpp>
#include <weft/weft.hpp>

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <memory>
#include <mutex>
#include <new>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace {

using digest = std::array<unsigned char, 32>;

template <auto free>
struct deleter {
  void operator()(auto* p) const { free(p); }
};

struct hashed_file {
  std::string path;
  digest sum;
};

// What one open file needs. On the heap and used again: goroutine stacks are small, and there are
// never more of these than open files.
class scratch {
 public:
  std::array<char, 128 * 1024> buffer;

  void start() { check(EVP_DigestInit_ex2(context_.get(), sha256(), nullptr)); }
  void add(std::size_t size) { check(EVP_DigestUpdate(context_.get(), buffer.data(), size)); }
  digest finish() {
    digest sum;
    check(EVP_DigestFinal_ex(context_.get(), sum.data(), nullptr));
    return sum;
  }

 private:
  static void check(int success) {
    if (success != 1) throw std::runtime_error("OpenSSL cannot compute SHA-256");
  }
  // Looked up once: EVP_sha256() would search the providers, under their lock, for every file.
  static const EVP_MD* sha256() {
    static const std::unique_ptr<EVP_MD, deleter<EVP_MD_free>> found(EVP_MD_fetch(nullptr, "SHA256", nullptr));
    return found.get();
  }
  static EVP_MD_CTX* new_context() {
    EVP_MD_CTX* context = EVP_MD_CTX_new();
    return context != nullptr ? context : throw std::bad_alloc();
  }

  std::unique_ptr<EVP_MD_CTX, deleter<EVP_MD_CTX_free>> context_{new_context()};
};

// As coreutils do it, so that every name fits on one line.
std::string escaped(std::string_view path) {
  std::string text;
  for (const char c : path) {
    const std::size_t special = std::string_view("\\\n\r").find(c);
    if (special == std::string_view::npos)
      text += c;
    else
      text += {'\\', "\\nr"[special]};
  }
  return text;
}

class descriptor {
 public:
  explicit descriptor(int fd) : fd_(fd) {}
  descriptor(descriptor&& from) noexcept : fd_(std::exchange(from.fd_, -1)) {}
  ~descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

template <class F>
auto checked(F system_call) {
  auto result = system_call();
  while (result < 0 && errno == EINTR) result = system_call();
  if (result < 0) throw std::system_error(errno, std::generic_category());
  return result;
}

// The functions from here to tree_hasher may take as long as the disk likes. They are called in weft::blocking, from
// start to end: errno belongs to the thread, and the goroutine may have another one afterwards.

descriptor open_regular(const std::string& path) {
  // Since the walk saw it, the file may have become anything. O_NOFOLLOW: a link fails to open;
  // O_NONBLOCK: a FIFO does open, without waiting for a writer, and fstat sees it.
  descriptor file(
      checked([&] { return ::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC); }));
  struct stat st;
  checked([&] { return ::fstat(file.get(), &st); });
  if (S_ISDIR(st.st_mode)) throw std::system_error(EISDIR, std::generic_category());
  if (!S_ISREG(st.st_mode)) throw std::runtime_error("is not a regular file");
  return file;
}

// Fills the buffer; less is the end of the file. So a small file costs one hand-over of the P, not one for each read.
std::size_t read_piece(int fd, std::span<char> buffer) {
  std::size_t size = 0;
  while (size < buffer.size()) {
    const ssize_t got = checked([&] { return ::read(fd, buffer.data() + size, buffer.size() - size); });
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  return size;
}

mode_t type_of(const std::string& path) {
  struct stat st;
  checked([&] { return ::lstat(path.c_str(), &st); });
  return st.st_mode & S_IFMT;
}

struct listing {
  std::vector<std::string> files, directories;
  int error = 0;
};

// Reads the directory to its end and closes it, so that however deep the tree is, one is open at a time.
listing list(const std::string& directory) {
  listing found;
  // O_NOFOLLOW: it was a directory a moment ago, but may have been exchanged for a link since.
  const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  const std::unique_ptr<DIR, deleter<::closedir>> stream(fd < 0 ? nullptr : ::fdopendir(fd));
  if (stream == nullptr) {
    found.error = errno;
    if (fd >= 0) ::close(fd);
    return found;
  }
  const std::string prefix = directory.ends_with('/') ? directory : directory + '/';
  while (true) {
    errno = 0;
    const dirent* entry = ::readdir(stream.get());
    if (entry == nullptr) {
      found.error = errno;
      return found;
    }
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;

    unsigned char type = entry->d_type;
    if (type == DT_UNKNOWN) {  // some file systems do not say
      struct stat st;
      // One that cannot be looked at counts as a file, so that opening it says why.
      if (::fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0) st.st_mode = S_IFREG;
      type = static_cast<unsigned char>(IFTODT(st.st_mode));
    }
    if (type == DT_REG) found.files.push_back(prefix + entry->d_name);
    if (type == DT_DIR) found.directories.push_back(prefix + entry->d_name);
  }
}

class tree_hasher {
 public:
  explicit tree_hasher(int most_open) : free_slots_(most_open) {}

  void add(const std::string& argument) {
    try {
      switch (weft::blocking([&] { return type_of(argument); })) {
        case S_IFDIR: return walk(argument);
        case S_IFREG: return start(argument);
        case S_IFLNK: return report(argument, "is a symbolic link, which is not followed");
        default: return report(argument, "is not a regular file");
      }
    } catch (const std::system_error& e) {
      report(argument, e.code().message());
    }
  }

  void wait() { running_.wait(); }

  void report(std::string_view path, std::string_view reason) {
    failed_ = true;
    fmt::print(stderr, "hash_tree: {}: {}\n", escaped(path), reason);
  }

  // After wait().
  std::vector<hashed_file>& files() { return files_; }
  std::uint64_t bytes() const { return bytes_; }
  bool failed() const { return failed_; }

 private:
  void walk(std::string directory) {
    std::vector<std::string> pending{std::move(directory)};
    while (!pending.empty()) {
      const std::string next = std::move(pending.back());
      pending.pop_back();
      listing found = weft::blocking([&] { return list(next); });
      if (found.error != 0) report(next, std::generic_category().message(found.error));
      for (std::string& path : found.files) start(std::move(path));
      std::ranges::move(found.directories, std::back_inserter(pending));
    }
  }

  // The slot is taken here and not in the new goroutine: the walk then waits for the hashing, and a
  // tree of any size needs memory for `--open` goroutines only.
  void start(std::string path) {
    free_slots_.acquire();
    running_.go([this, path = std::move(path)]() mutable {
      hash(std::move(path));
      free_slots_.release();
    });
  }

  void hash(std::string path) {
    try {
      std::unique_ptr<scratch> s = take_scratch();
      const std::uint64_t size = hash_contents(path, *s);
      const digest sum = s->finish();

      std::scoped_lock hold(lock_);
      files_.push_back({std::move(path), sum});
      bytes_ += size;
      spare_.push_back(std::move(s));
    } catch (const std::system_error& e) {
      report(path, e.code().message());
    } catch (const std::exception& e) {
      report(path, e.what());
    }
  }

  std::uint64_t hash_contents(const std::string& path, scratch& s) {
    const descriptor file = weft::blocking([&] { return open_regular(path); });
    s.start();
    std::uint64_t size = 0;
    while (true) {
      const std::size_t got = weft::blocking([&] { return read_piece(file.get(), s.buffer); });
      s.add(got);
      size += got;
      if (got < s.buffer.size()) return size;
    }
  }

  std::unique_ptr<scratch> take_scratch() {
    {
      std::scoped_lock hold(lock_);
      if (!spare_.empty()) {
        std::unique_ptr<scratch> s = std::move(spare_.back());
        spare_.pop_back();
        return s;
      }
    }
    // Not make_unique, which would fill the buffer with zeros first.
    return std::unique_ptr<scratch>(new scratch);
  }

  weft::semaphore free_slots_;
  weft::wait_group running_;
  std::atomic<bool> failed_{false};

  weft::mutex lock_;  // guards the rest
  std::vector<hashed_file> files_;
  std::uint64_t bytes_ = 0;
  std::vector<std::unique_ptr<scratch>> spare_;
};

void print(const hashed_file& file) {
  const std::string path = escaped(file.path);
  const std::string line = fmt::format("{}{:02x}  {}\n", path == file.path ? "" : "\\", fmt::join(file.sum, ""), path);
  // Success is asked for once, at the end.
  (void)std::fwrite(line.data(), 1, line.size(), stdout);
}

// Each open file may be in a read at a time, which occupies a thread; 32 descriptors are for other use.
int upper_limit_of_open_files() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<int>(std::clamp<rlim_t>(limit.rlim_cur, 33, 4096 + 32) - 32);
}

}  // namespace

int main(int argc, char** argv) {
  const int upper_limit = upper_limit_of_open_files();
  std::vector<std::string> arguments;
  int most_open = std::min(64, upper_limit);
  CLI::App app("SHA-256 of every regular file below the given directories, in the format of sha256sum", "hash_tree");
  app.add_option("PATH", arguments, "directories and files; symbolic links are not followed")->required();
  app.add_option("--open", most_open, "how many files to have open at a time; `ulimit -n` has a say in it")
      ->check(CLI::Range(1, upper_limit))
      ->capture_default_str();
  app.failure_message([](const CLI::App*, const CLI::Error& e) {
    return fmt::format("hash_tree: {}\nusage: hash_tree [--open N] PATH..., see hash_tree --help\n", e.what());
  });
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e, std::cout, std::cerr) == 0 ? 0 : 2;
  }

  // Outside run(), so that it outlives every goroutine however the main goroutine ends.
  tree_hasher hasher(most_open);
  weft::debug::runtime_stats stats{};
  const auto start = std::chrono::steady_clock::now();
  try {
    weft::run([&] {
      for (const std::string& argument : arguments) hasher.add(argument);
      hasher.wait();
      stats = weft::debug::stats();
    });
  } catch (const weft::error& e) {  // a WEFT_ variable with a bad value
    fmt::print(stderr, "hash_tree: {}\n", e.what());
    return 2;
  }
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;

  std::ranges::sort(hasher.files(), {}, &hashed_file::path);
  for (const hashed_file& file : hasher.files()) print(file);
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
    hasher.report("standard output", std::generic_category().message(errno));
  fmt::print(stderr, "hash_tree: files={} bytes={} seconds={:.3f} goroutines={} threads={} steals={}\n",
             hasher.files().size(), hasher.bytes(), taken.count(), stats.goroutines_created, stats.threads,
             stats.steals);
  return hasher.failed() ? 1 : 0;
}
