// stop: all Ps of a runtime come to rest, something is changed that their holders rely on, and they go on (Go's
// stopTheWorld; GO-BEHAVIOUR A16).
//
// Who    the stopper: any thread, without a P. A goroutine that stops the world gives its P up first, as stopped, and gets
//        one back from start_world. One stopper at a time (world_lock); whoever waits for that lock holds no P, so it is
//        in nobody's way.
// State  attention_stop is set, and stopwait counts the Ps that are not stopped. Each P is stopped, once, by
//          the stopper       an idle one, at once; one whose goroutine is outside the runtime, by revoking it (R1 to R3,
//                            sched/revoke.hpp): its goroutine runs on, detached, and waits at the door until the end
//          its holder        in find_runnable, when it is about to be laid down or handed off, or at the door, when it
//                            finds that the stopper asks for it
//        A holder that is inside the runtime is asked again a little later: it may leave by the door without looking.
// Order  stop.count   a holder: all it did with the P, then sched.lock / the stopper: sched.lock, stopwait == 0
//        stop.begin   the stopper: attention_stop, under sched.lock / pidleput, releasep: attention, under sched.lock
// Why    every way from holding a P to not holding it passes stop_p under sched.lock, and no P is idle meanwhile: so none
//        can be taken up again before start_world. A P on its way to an M (nextp) counts as held, and is stopped there.
// Never  stop the world with a lock held that a goroutine may want inside the runtime.
// Never  wait for a P, or for a goroutine, between stop and start.
// Checked by test/model/stop_model.cpp; test/conformance/stop_the_world_test.cpp; test/stress/procs.cpp.
#pragma once
#include <cstdint>

#include "sched/sched.hpp"

namespace weft::rt {

// False: the runtime has ended, and nothing is stopped. Else the caller holds world_lock until start_world.
// `watching`: the caller is sysmon, for whom Ms may wait that it has to start, with their Ps. Then false also when somebody
// else stops the world just now: it comes again.
[[nodiscard]] bool stop_world(sched_t* rt, bool watching = false);
// While the world is stopped: that many Ps from now on.
void procresize(sched_t* rt, std::uint32_t n);
// `self`: the stopper's M when it is a goroutine that has given its P up; it has one again when it comes to the door.
void start_world(sched_t* rt, m* self);

// Under sched.lock. A P that nobody holds any more is stopped, and counted if somebody waits for that.
void stop_p(sched_t* rt, p* pp);
// In the scheduler, with attention_stop seen: the P is given up, if that is still asked for. True: mp has none now.
bool stop_here(m* mp);
// At the door: as stop_here; the goroutine is detached then.
bool stop_at_door(g* gp, m* mp, bool asked);

// A goroutine, or sysmon (not by hand), that changes the number of Ps. n within bounds. Returns what it was; 0: the world
// could not be stopped.
std::uint32_t set_procs(sched_t* rt, g* self, std::uint32_t n, bool by_hand);

// The world of a goroutine's runtime, or of another, stopped for a scope.
class stopped_world {
 public:
  stopped_world(sched_t* rt, g* self, bool watching = false);
  ~stopped_world();
  stopped_world(const stopped_world&) = delete;
  stopped_world& operator=(const stopped_world&) = delete;
  // False: as stop_world.
  explicit operator bool() const { return stopped_; }

 private:
  sched_t* rt_;
  g* self_;
  bool stopped_;
};

}  // namespace weft::rt
