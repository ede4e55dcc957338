// search: which execution comes next. A tree of decisions (who goes next; which of n), walked to its end or sampled.
//
//   exhaustive   source-DPOR with sleep sets (Abdulla, Aronis, Jonsson, Sagonas 2014): one execution, at least, of each
//                class of executions that differ only in the order of independent steps; and every store that a load
//                may read. Checked against `full` by test/checker/self_test.cpp.
//   full         every decision, without reduction; with `preemptions` at most so many switches away from a thread that
//                could go on.
//   sampled      one of src/explore's strategies, or a portfolio of them.
//   replay       the decisions of a path that was printed before.
//
// A thread that has yielded is not asked again before all that were enabled then have had a step (CHESS), in all of them.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "checker/machine.hpp"
#include "explore/strategy.hpp"

namespace weft::check {

class search {
 public:
  virtual ~search() = default;
  // False: there is no other execution.
  virtual bool begin() = 0;
  // One of the threads in `enabled`, or -1: nothing new lies this way. `pending` is indexed by thread.
  virtual int pick(mask enabled, std::uint32_t current, const step* pending) = 0;
  virtual std::uint32_t choose(std::uint32_t n) = 0;
  // The chosen thread does this step now. `causes`: a thread whose next step this one makes possible, or -1.
  virtual void doing(std::uint32_t thread, const step& s) { static_cast<void>(thread), static_cast<void>(s); }
  virtual void caused(std::uint32_t by, std::uint32_t thread) { static_cast<void>(by), static_cast<void>(thread); }
  virtual void yielded(std::uint32_t thread) { static_cast<void>(thread); }
  // The step under way is a load: is it worth while to read past a store that `thread` made in step number `at`?
  virtual bool looks_past(std::uint32_t thread, std::uint32_t at) {
    return static_cast<void>(thread), static_cast<void>(at), true;
  }
  // True: looks_past leaves reads out, so a replay of its path must leave out the same.
  virtual bool reduces() const { return false; }
  // Every decision of this execution that had an alternative.
  const std::vector<std::uint8_t>& path() const { return path_; }

 protected:
  void chosen(std::uint32_t c) { path_.push_back(static_cast<std::uint8_t>(c)); }
  std::vector<std::uint8_t> path_;
};

std::unique_ptr<search> exhaustive();
std::unique_ptr<search> full(std::uint32_t preemptions);
inline constexpr std::uint32_t unbounded = ~std::uint32_t{0};
std::unique_ptr<search> sampled(rt::explore::kind k, std::uint32_t depth, std::uint64_t seed);
std::unique_ptr<search> portfolio(std::uint64_t seed);
std::unique_ptr<search> replay(std::vector<std::uint8_t> path, bool reduced);

// A path of a search that reduces begins with a dot.
std::string path_text(const std::vector<std::uint8_t>& path, bool reduced);
// False: not a path.
bool parse_path(const std::string& text, std::vector<std::uint8_t>& out, bool& reduced);

}  // namespace weft::check
