// exhaustive: every schedule of a program, depth first, with at most so many preemptions: switches away from a goroutine
// that could have gone on and did not yield.
//
// State  path_: what was decided at each decision with more than one answer; a run follows it to its end and goes the
//        first way from there on. next() takes the last decision that has another answer left, and forgets what lay
//        behind it. The first answer is to go on, or whoever has been able to for longest: the plain schedule.
// Order  a bug that takes few switches near the end is found early. All with one preemption before any with two would
//        find bugs sooner, and take longer to be complete; the other strategies are for finding.
// Never  leave out a schedule because two steps commute: between two points a goroutine may use variables which the
//        engine does not see.
#pragma once
#include <cstdint>
#include <vector>

#include "explore/strategy.hpp"

namespace weft::rt::lab {

class exhaustive : public explore::strategy {
 public:
  static constexpr std::uint32_t any = ~std::uint32_t{0};

  explicit exhaustive(std::uint32_t preemptions) : bound_(preemptions) {}

  // The run again, or the one that next() has prepared.
  void begin(std::uint64_t) override;
  std::uint32_t pick(std::span<const explore::candidate> enabled, std::uint32_t current) override;
  std::uint32_t choose(std::uint32_t n) override { return decide(n, 0, false); }

  // False: there are no more.
  bool next();
  // The last run met another number of answers than on its way before: the program does not do the same again.
  bool diverged() const { return diverged_; }

 private:
  struct decision {
    std::uint32_t n;
    std::uint32_t first;  // the answer that costs nothing
    std::uint32_t tried;  // answers so far, without this one
    bool costs;           // any other is a preemption
    std::uint32_t answer() const { return tried == 0 ? first : tried <= first ? tried - 1 : tried; }
  };
  std::uint32_t decide(std::uint32_t n, std::uint32_t first, bool costs);

  std::uint32_t bound_;
  std::vector<decision> path_;
  std::size_t at_ = 0;
  bool diverged_ = false;
};

}  // namespace weft::rt::lab
