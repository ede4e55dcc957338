// semaphore, for a select that would acquire one as one of its cases (src/chan/select.cpp). The protocol: semaphore.cpp.
#pragma once
#include "model/hchan.hpp"
#include "model/sematable.hpp"
#include "sync/word.hpp"

namespace weft::rt {

// A hint, without a lock.
bool sema_looks_free(word64 word);
// A permit, if there is one and nobody waits.
bool sema_take(word64 word);
// With the bucket's lock: takes a permit, or queues sg, whose fields are set. True: taken.
bool sema_take_or_queue(sema_bucket& b, word64 word, sema_case* sg, std::uint32_t ticket);
// With the bucket's lock: off the queue, if it is still there. The semaphore may be gone if it is not.
void sema_leave(sema_bucket& b, sema_case* sg);

}  // namespace weft::rt
