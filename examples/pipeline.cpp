// pipeline: SHA-256 of every regular file below a directory, in stages that are joined by channels.
//
//     walker ──▶ jobs ──▶ readers ──▶ files ──▶ hashers ──▶ a channel for each result ──▶ printer
//        └──────────────────── those channels, in the order of the paths ────────────────────┘
//
// Each stage does one thing, and learns of the end from the one before it, which closes its channel. A job brings along the
// channel that its result is to go to, and the printer has got the other end of it from the walker: it takes one result after
// the other, so the output is sorted though files are read and hashed in any order. All channels have bounds, and so has
// memory, whatever the number of files and their size: who is ahead waits. (Not counted are the names in one directory and in
// those above it.) The pieces of a file go through a channel too, its own, so that it is read and hashed at the same time.
//
// Run     build/release/examples/pipeline DIRECTORY
// Prints  on stdout what sha256sum prints for these files, in the order of the bytes of their paths:
//           find DIR -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | diff - <(pipeline DIR)
//         on stderr, at the same place in the order, "pipeline: PATH: reason" for what could not be read.
//         Exit status 0; 1 if something could not be read; 2 for wrong usage.
// Go      go.dev/blog/pipelines, with a channel of channels for the order. The same without stages: hash_tree.
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>
#include <weft/weft.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace {

constexpr int readers = 8;       // files that are read at the same time
constexpr int pieces_ahead = 2;  // of each of them
constexpr int results_ahead = 256;

struct piece {
  std::array<char, 64 * 1024> bytes;
  std::size_t size = 0;
};

struct chunk {
  std::unique_ptr<piece> data;
  std::string error;  // why it has not been filled; then it is the last one
};

struct result {
  std::string path, digest, error;
};

struct job {
  std::string path;
  weft::send_chan<result> done;
};

struct file {
  job of;
  weft::recv_chan<chunk> contents;
};

struct pipeline {
  weft::chan<weft::recv_chan<result>> in_order = weft::chan<weft::recv_chan<result>>(results_ahead);
  weft::chan<job> jobs;
  weft::chan<file> files;
  weft::object_pool<piece> pieces;  // used again and again: readers * (pieces_ahead + 1), and one for each hasher
};

// ---- the walker

struct listing {
  std::vector<std::string> paths;  // those of directories end with '/'
  std::error_code error;
};

listing list(const std::string& directory) {
  listing found;
  std::filesystem::directory_iterator entry(directory, found.error);
  for (; !found.error && entry != end(entry); entry.increment(found.error)) {
    // Of what cannot even be looked at opening will say why. Links, FIFOs and devices are passed over.
    std::error_code unknown;
    const std::filesystem::file_type type = entry->symlink_status(unknown).type();
    const std::string path = directory + entry->path().filename().native();
    if (type == std::filesystem::file_type::directory)
      found.paths.push_back(path + '/');
    else if (unknown || type == std::filesystem::file_type::regular)
      found.paths.push_back(path);
  }
  return found;
}

void walk(pipeline& p, std::string directory) {
  if (!directory.ends_with('/')) directory += '/';
  std::vector<std::string> pending{std::move(directory)};
  while (!pending.empty()) {
    std::string path = std::move(pending.back());
    pending.pop_back();
    if (!path.ends_with('/')) {
      const weft::chan<result> done(1);  // with room for it, so that no hasher waits for the printer
      p.in_order.send(done);
      p.jobs.send({std::move(path), done});
      continue;
    }
    listing found = weft::blocking([&] { return list(path); });
    if (found.error) {
      if (path.size() > 1) path.pop_back();
      const weft::chan<result> done(1);
      done.send({std::move(path), {}, found.error.message()});
      p.in_order.send(done);
    }
    std::ranges::sort(found.paths, std::greater());  // the next one to be taken stands last
    std::ranges::move(found.paths, std::back_inserter(pending));
  }
  p.jobs.close();
  p.in_order.close();
}

// ---- the readers

// Called in weft::blocking, from start to end: errno belongs to the thread, which may be another one afterwards.
class input {
 public:
  input() = default;
  input(const input&) = delete;
  input& operator=(const input&) = delete;
  ~input() {
    if (fd_ >= 0) ::close(fd_);
  }

  // Empty, or why not. The file may have become anything since the walker saw it, a FIFO that nobody writes to for one.
  std::string open(const std::string& path) {
    fd_ = ::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    struct stat st;
    if (fd_ < 0 || ::fstat(fd_, &st) < 0) return last_error();
    return S_ISREG(st.st_mode) ? std::string() : "is not a regular file";
  }

  // Fills the piece; less is the end of the file.
  std::string read(piece& to) {
    for (to.size = 0; to.size < to.bytes.size();) {
      const ssize_t got = ::read(fd_, to.bytes.data() + to.size, to.bytes.size() - to.size);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return last_error();
      if (got == 0) break;
      to.size += static_cast<std::size_t>(got);
    }
    return {};
  }

 private:
  static std::string last_error() { return std::generic_category().message(errno); }
  int fd_ = -1;
};

void read_files(pipeline& p) {
  for (job& j : p.jobs) {
    input in;
    std::string error = weft::blocking([&] { return in.open(j.path); });
    if (!error.empty()) {
      j.done.send({std::move(j.path), {}, std::move(error)});
      continue;
    }
    const weft::chan<chunk> contents(pieces_ahead);
    p.files.send({std::move(j), contents});
    for (bool more = true; more;) {
      chunk c{p.pieces.get(), {}};
      c.error = weft::blocking([&] { return in.read(*c.data); });
      more = c.error.empty() && c.data->size == c.data->bytes.size();
      contents.send(std::move(c));
    }
    contents.close();
  }
}

// ---- the hashers

class sha256 {
 public:
  void start() { check(context_ != nullptr ? EVP_DigestInit_ex2(context_.get(), algorithm(), nullptr) : 0); }
  void add(const piece& p) { check(EVP_DigestUpdate(context_.get(), p.bytes.data(), p.size)); }
  std::string finish() {
    std::array<unsigned char, 32> sum;
    check(EVP_DigestFinal_ex(context_.get(), sum.data(), nullptr));
    std::string text;
    for (const unsigned char byte : sum) text += {"0123456789abcdef"[byte >> 4], "0123456789abcdef"[byte & 15]};
    return text;
  }

 private:
  static void check(int success) {
    if (success != 1) throw std::runtime_error("OpenSSL cannot compute SHA-256");
  }
  static const EVP_MD* algorithm() {
    static EVP_MD* const found = EVP_MD_fetch(nullptr, "SHA256", nullptr);
    return found;
  }
  struct freed {
    void operator()(EVP_MD_CTX* c) const { EVP_MD_CTX_free(c); }
  };
  std::unique_ptr<EVP_MD_CTX, freed> context_{EVP_MD_CTX_new()};
};

void hash_files(pipeline& p) {
  sha256 hash;
  for (file& f : p.files) {
    hash.start();
    std::string error;
    for (chunk& c : f.contents) {
      error = std::move(c.error);
      if (error.empty()) hash.add(*c.data);
      p.pieces.put(std::move(c.data));
    }
    std::string digest = hash.finish();
    f.of.done.send({std::move(f.of.path), std::move(digest), std::move(error)});
  }
}

// ---- the printer

// As coreutils do it, so that every name fits on one line.
std::string escaped(const std::string& path) {
  std::string text;
  for (const char c : path) {
    if (c == '\\')
      text += "\\\\";
    else if (c == '\n')
      text += "\\n";
    else if (c == '\r')
      text += "\\r";
    else
      text += c;
  }
  return text;
}

bool print(const result& r) {
  const std::string path = escaped(r.path);
  if (!r.error.empty()) {
    std::fprintf(stderr, "pipeline: %s: %s\n", path.c_str(), r.error.c_str());
    return false;
  }
  return std::printf("%s%s  %s\n", path == r.path ? "" : "\\", r.digest.c_str(), path.c_str()) >= 0;
}

int run(const std::string& directory) {
  pipeline p;
  // snippet: stages
  weft::go([&p, directory] { walk(p, directory); });

  weft::wait_group reading, hashing;
  for (int i = 0; i < readers; ++i) reading.go([&p] { read_files(p); });
  weft::go([&p, &reading] {
    reading.wait();
    p.files.close();
  });
  for (int i = weft::gomaxprocs(0); i > 0; --i) hashing.go([&p] { hash_files(p); });

  bool all_well = true;
  for (const weft::recv_chan<result>& done : p.in_order) all_well = print(*done.recv()) && all_well;
  hashing.wait();
  // snippet: end
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    std::fputs("pipeline: standard output cannot be written\n", stderr);
    all_well = false;
  }
  return all_well ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 || argv[1][0] == '\0') {
    std::fprintf(stderr, "usage: pipeline DIRECTORY\n");
    return 2;
  }
  return weft::run([directory = std::string(argv[1])] { return run(directory); });
}
