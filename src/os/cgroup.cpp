#include "os/cgroup.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace weft::rt::os {
namespace {

using text = std::string_view;

class path {
 public:
  path& add(text s) {
    if (s.size() >= sizeof buf_ - n_) {
      fits_ = false;
      return *this;
    }
    std::memcpy(buf_ + n_, s.data(), s.size());
    n_ += s.size();
    return *this;
  }

  // As mountinfo writes it: blanks and backslashes are octal, "\040".
  path& add_escaped(text s) {
    while (!s.empty()) {
      if (s.size() >= 4 && s[0] == '\\') {
        const char c = static_cast<char>(((s[1] - '0') << 6) | ((s[2] - '0') << 3) | (s[3] - '0'));
        add(text(&c, 1));
        s.remove_prefix(4);
      } else {
        add(s.substr(0, 1));
        s.remove_prefix(1);
      }
    }
    return *this;
  }

  bool fits() const { return fits_; }
  text str() const { return text(buf_, n_); }
  const char* c_str() {
    buf_[n_] = '\0';
    return buf_;
  }

 private:
  char buf_[PATH_MAX];
  std::size_t n_ = 0;
  bool fits_ = true;
};

// The lines of a file, without their ends. Lines longer than the buffer are left out: none that we look for is.
class lines {
 public:
  explicit lines(path& file) {
    if (file.fits()) fd_ = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  }
  ~lines() {
    if (fd_ >= 0) ::close(fd_);
  }
  lines(const lines&) = delete;
  lines& operator=(const lines&) = delete;

  bool next(text* out) {
    bool too_long = false;
    for (;;) {
      if (const void* end = std::memchr(buf_ + at_, '\n', n_ - at_)) {
        const std::size_t length = static_cast<std::size_t>(static_cast<const char*>(end) - (buf_ + at_));
        *out = text(buf_ + at_, length);
        at_ += length + 1;
        if (!too_long) return true;
        too_long = false;
        continue;
      }
      if (at_ == 0 && n_ == sizeof buf_) {
        too_long = true;
        n_ = 0;
      }
      std::memmove(buf_, buf_ + at_, n_ - at_);
      n_ -= at_;
      at_ = 0;
      if (fill()) continue;
      *out = text(buf_, n_);
      const bool last = n_ > 0 && !too_long;
      n_ = 0;
      return last;
    }
  }

 private:
  bool fill() {
    if (fd_ < 0) return false;
    for (;;) {
      const ssize_t r = ::read(fd_, buf_ + n_, sizeof buf_ - n_);
      if (r < 0 && errno == EINTR) continue;
      if (r > 0) n_ += static_cast<std::size_t>(r);
      return r > 0;
    }
  }

  int fd_ = -1;
  std::size_t at_ = 0, n_ = 0;
  char buf_[4096];
};

// Takes the part before the separator off the front of *rest.
text take(text* rest, char separator) {
  const std::size_t at = rest->find(separator);
  const text part = rest->substr(0, at);
  rest->remove_prefix(at == text::npos ? rest->size() : at + 1);
  return part;
}

bool in_list(text list, text wanted) {
  while (!list.empty()) {
    if (take(&list, ',') == wanted) return true;
  }
  return false;
}

// 0 for what is no positive number: "max", "-1", nothing.
std::int64_t positive(text s) {
  std::int64_t value = 0;
  for (const char c : s) {
    if (c < '0' || c > '9' || value > INT64_MAX / 10 - 1) return 0;
    value = value * 10 + (c - '0');
  }
  return value;
}

enum class version { none, v1, v2 };

// /proc/self/cgroup: "hierarchy:controllers:path".
version find_cgroup(const char* root, path* out) {
  path file;
  lines in(file.add(root).add("/proc/self/cgroup"));
  version found = version::none;
  for (text line; in.next(&line);) {
    const text hierarchy = take(&line, ':');
    const text controllers = take(&line, ':');
    const bool v1 = in_list(controllers, "cpu");
    if (!v1 && !(hierarchy == "0" && controllers.empty())) continue;
    *out = path();
    out->add(line);
    found = v1 ? version::v1 : version::v2;
    if (v1) break;
  }
  return out->fits() ? found : version::none;
}

// /proc/self/mountinfo: "id parent device root mount-point options optional... - type source super-options".
// A mount shows the part of the hierarchy below its root.
bool find_directory(const char* root, version v, text cgroup, path* out) {
  path file;
  lines in(file.add(root).add("/proc/self/mountinfo"));
  for (text line; in.next(&line);) {
    for (int skipped = 0; skipped < 3; ++skipped) take(&line, ' ');
    const text mount_root = take(&line, ' ');
    const text mount_point = take(&line, ' ');
    while (!line.empty() && take(&line, ' ') != "-") {
    }
    const text type = take(&line, ' ');
    take(&line, ' ');
    if (v == version::v1 ? type != "cgroup" || !in_list(line, "cpu") : type != "cgroup2") continue;

    path shown;
    if (mount_root != "/") shown.add_escaped(mount_root);
    if (!cgroup.starts_with(shown.str())) continue;
    const text below = cgroup.substr(shown.str().size());
    if (!below.empty() && below[0] != '/') continue;

    *out = path();
    out->add(root).add_escaped(mount_point).add(below);
    return true;
  }
  return false;
}

std::int64_t read_number(text directory, text name) {
  path file;
  lines in(file.add(directory).add(name));
  text line;
  return in.next(&line) ? positive(line) : 0;
}

}  // namespace

int cgroup_cpus(const char* root) {
  path cgroup, directory;
  const version v = find_cgroup(root, &cgroup);
  if (v == version::none || !find_directory(root, v, cgroup.str(), &directory)) return 0;

  std::int64_t quota = 0, period = 0;
  if (v == version::v1) {
    quota = read_number(directory.str(), "/cpu.cfs_quota_us");
    period = read_number(directory.str(), "/cpu.cfs_period_us");
  } else {
    path file;
    lines in(file.add(directory.str()).add("/cpu.max"));
    if (text line; in.next(&line)) {
      quota = positive(take(&line, ' '));
      period = positive(line);
    }
  }
  if (quota == 0 || period == 0) return 0;
  const std::int64_t cpus = quota / period + (quota % period != 0 ? 1 : 0);
  return cpus < 2 ? 2 : cpus > INT_MAX ? INT_MAX : static_cast<int>(cpus);
}

}  // namespace weft::rt::os
