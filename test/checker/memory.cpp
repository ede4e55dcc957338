#include "checker/memory.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

namespace weft::check {
namespace {

std::uint32_t gen = 0;
std::uint32_t nthreads() { return threads_used(); }

// ---- stores and reads: pools that an execution fills and the next one starts again

std::vector<store> stores(1);
std::uint32_t nstores = 1;
std::vector<seen_read> reads(1);
std::uint32_t nreads = 1;

std::uint32_t new_store() {
  if (nstores == stores.size()) stores.resize(stores.size() * 2);
  return nstores++;
}

// ---- locations: open addressing by address; a slot of an older generation is free

constexpr std::uint32_t location_slots = 1u << 14;
location* locations = static_cast<location*>(std::calloc(location_slots, sizeof(location)));
std::uint32_t nlocations = 0;

// seq_cst fences: what is known to whoever fences next.
vclock fence_cov;

// ---- plain memory: a line per 8 bytes, in pages, looked up by page number

enum : std::uint8_t { is_write = 1, is_atomic = 2 };
struct access {
  epoch when;
  std::uint32_t pc;
  std::uint8_t bytes;  // which of the eight
  std::uint8_t how;
  std::uint16_t unused;
};
constexpr std::uint32_t inline_accesses = 4;
struct granule {
  std::uint32_t generation;
  std::uint8_t n;
  std::uint8_t freed;     // bytes that were freed
  std::uint8_t atomics;   // bytes at which an atomic begins
  std::uint8_t overflow;  // more accesses than fit: in `more`
  access a[inline_accesses];
  std::uint32_t freed_pc;
  std::uint32_t more;  // index into `spill`
};
static_assert(sizeof(granule) == 64);
std::vector<std::vector<access>> spill(1);
std::uint32_t nspill = 1;

struct page {
  std::uint64_t number;
  granule* lines;
};
constexpr std::uint32_t page_slots = 1u << 14;
page pages[page_slots];
page recent[64];  // by low bits of the number

granule* find_page(std::uint64_t number) {
  std::uint32_t i = static_cast<std::uint32_t>((number * 0x9e3779b97f4a7c15u) >> 50);
  while (pages[i].lines != nullptr && pages[i].number != number) i = (i + 1) % page_slots;
  if (pages[i].lines == nullptr) {
    void* memory = ::mmap(nullptr, 512 * sizeof(granule), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    pages[i] = {number, static_cast<granule*>(memory)};
  }
  recent[number % 64] = pages[i];
  return pages[i].lines;
}

inline granule* lines_of(std::uint64_t number) {
  const page& p = recent[number % 64];
  return p.number == number && p.lines != nullptr ? p.lines : find_page(number);
}

inline granule& granule_at(std::uint64_t at) {
  granule& g = lines_of(at >> 12)[(at >> 3) & 511];
  if (g.generation != gen) {
    g.generation = gen;
    g.n = 0;
    g.freed = 0;
    g.atomics = 0;
    g.overflow = 0;
  }
  return g;
}

[[noreturn]] void race(std::uint64_t at, bool write, std::uint32_t thread, const access& other, std::uint32_t pc) {
  fail("data race: thread %u %s %p, which thread %u %s without synchronisation, at pc %#x; here at pc %#x", thread,
       write ? "writes" : "reads", reinterpret_cast<void*>(at), thread_of(other.when),
       (other.how & is_write) != 0 ? "wrote" : "read", other.pc, pc);
}

std::uint32_t newest_that_thread_must_see(location& l, const vclock& cov, bool sc, std::uint32_t sc_fence_step) {
  std::uint32_t floor = 0;
  for (std::uint32_t i = l.newest; i != 0; i = stores[i].prev) {
    if (covers(cov, stores[i].when)) {
      floor = stores[i].seq;
      break;
    }
  }
  for (std::uint32_t r = l.reads; r != 0; r = reads[r].next) {
    if (reads[r].seq > floor && covers(cov, reads[r].when)) floor = reads[r].seq;
  }
  if (sc) {
    if (l.newest_sc != 0 && stores[l.newest_sc].seq > floor) floor = stores[l.newest_sc].seq;
  } else if (sc_fence_step != 0) {
    for (std::uint32_t i = l.newest_sc; i != 0; i = stores[i].prev_sc) {
      if (stores[i].step >= sc_fence_step) continue;
      if (stores[i].seq > floor) floor = stores[i].seq;
      break;
    }
  }
  return floor;
}

}  // namespace

std::uint64_t raw_load(const void* at, std::uint32_t size) {
  std::uint64_t v = 0;
  std::memcpy(&v, at, size);
  return v;
}

void raw_store(void* at, std::uint32_t size, std::uint64_t v) { std::memcpy(at, &v, size); }

void memory_reset(std::uint32_t generation) {
  gen = generation;
  nstores = 1;
  nreads = 1;
  nlocations = 0;
  nspill = 1;
  fence_cov.clear();
}

store& store_at(std::uint32_t index) { return stores[index]; }

location& location_at(const void* at, std::uint32_t size, std::uint32_t thread, memory_view& v, std::uint32_t pc) {
  const auto addr = reinterpret_cast<std::uint64_t>(at);
  std::uint32_t i = static_cast<std::uint32_t>((addr * 0x9e3779b97f4a7c15u) >> 50) % location_slots;
  while (locations[i].generation == gen && locations[i].addr != addr) i = (i + 1) % location_slots;
  location& l = locations[i];
  if (l.generation == gen) {
    if (l.size != size) fail("mixed sizes: an atomic of %u bytes at %p was one of %u bytes before", size, at, l.size);
    if (granule_at(addr).freed != 0) check_not_freed(at, pc);
    if (!covers(v.vc, l.born)) race(addr, true, thread, {l.born, 0, 0, is_write, 0}, pc);
    return l;
  }
  if (++nlocations > location_slots / 2) fail("too many atomics for the checker");
  // Its first use: what is there now was written by a plain store, which must be known here.
  check_plain(addr, size, false, thread, v, pc);
  granule& g = granule_at(addr);
  epoch when = make_epoch(thread, 0);
  const auto look = [&](const access& a) {
    if ((a.how & is_write) != 0 && (a.bytes >> (addr & 7) & 1) != 0) when = a.when;
  };
  if (g.overflow != 0) std::for_each(spill[g.more].begin(), spill[g.more].end(), look);
  std::for_each(g.a, g.a + g.n, look);
  g.atomics = static_cast<std::uint8_t>(g.atomics | 1u << (addr & 7));
  l.addr = addr;
  l.born = when;
  l.generation = gen;
  l.size = size;
  l.newest_sc = 0;
  l.reads = 0;
  std::memset(l.last_read, 0, sizeof l.last_read);
  std::memset(l.last_write, 0, sizeof l.last_write);
  std::memset(l.stale, 0, sizeof l.stale);
  const std::uint32_t s = new_store();
  store& first = stores[s];
  first.value = raw_load(at, size);
  first.when = when;
  first.seq = 1;
  first.step = 0;
  first.prev = 0;
  first.prev_sc = 0;
  first.sc = false;
  first.has_clock = false;
  l.newest = s;
  return l;
}

std::uint32_t candidates(location& l, const memory_view& v, order o, std::uint32_t* out, std::uint32_t limit) {
  out[0] = l.newest;
  if (covers(v.cov, stores[l.newest].when)) return 1;
  std::uint32_t floor = 0;
  if (o == seq_cst) {
    vclock all = v.cov;
    all.join(fence_cov, nthreads());
    floor = newest_that_thread_must_see(l, all, true, v.sc_fence_step);
  } else {
    floor = newest_that_thread_must_see(l, v.cov, false, v.sc_fence_step);
  }
  std::uint32_t n = 1;
  for (std::uint32_t i = stores[l.newest].prev; i != 0 && n < limit && stores[i].seq >= floor; i = stores[i].prev) {
    out[n++] = i;
  }
  return n;
}

void do_read(location& l, std::uint32_t index, std::uint32_t thread, memory_view& v, order o) {
  const store& s = stores[index];
  if (s.has_clock) {
    if (acquires(o)) {
      v.vc.join(s.vc, nthreads());
      v.cov.join(s.cov, nthreads());
    } else {
      if (!v.has_acq) {
        v.acq_vc.clear();
        v.acq_cov.clear();
        v.has_acq = true;
      }
      v.acq_vc.join(s.vc, nthreads());
      v.acq_cov.join(s.cov, nthreads());
    }
  }
  const epoch now = make_epoch(thread, v.vc.at[thread]);
  l.last_read[thread] = now;
  // Whoever learns of this read learns of the store too, unless the thread had no knowledge of the store itself.
  if (!covers(v.cov, s.when)) {
    if (nreads == reads.size()) reads.resize(reads.size() * 2);
    reads[nreads] = {now, s.seq, l.reads};
    l.reads = nreads++;
  }
  l.stale[thread] = index == l.newest ? 0 : static_cast<std::uint8_t>(l.stale[thread] + 1);
}

void do_write(location& l, std::uint64_t value, std::uint32_t thread, memory_view& v, order o, bool rmw,
              std::uint32_t step_number) {
  const std::uint32_t index = new_store();
  store& s = stores[index];
  const store& before = stores[l.newest];
  s.value = value;
  s.when = make_epoch(thread, v.vc.at[thread]);
  s.seq = before.seq + 1;
  s.step = step_number;
  s.prev = l.newest;
  s.prev_sc = l.newest_sc;
  s.sc = o == seq_cst;
  s.has_clock = false;
  const std::uint32_t n = nthreads();
  if (releases(o)) {
    s.vc = v.vc;
    s.cov = v.cov;
    s.has_clock = true;
  } else if (v.has_rel) {
    s.vc = v.rel_vc;
    s.cov = v.rel_cov;
    s.has_clock = true;
  }
  if (rmw && before.has_clock) {
    if (s.has_clock) {
      s.vc.join(before.vc, n);
      s.cov.join(before.cov, n);
    } else {
      s.vc = before.vc;
      s.cov = before.cov;
      s.has_clock = true;
    }
  }
  l.newest = index;
  l.last_write[thread] = s.when;
  l.stale[thread] = 0;
  if (s.sc) l.newest_sc = index;
  raw_store(reinterpret_cast<void*>(l.addr), l.size, value);
}

void do_fence(std::uint32_t, memory_view& v, order o, std::uint32_t step_number) {
  const std::uint32_t n = nthreads();
  if (acquires(o) && v.has_acq) {
    v.vc.join(v.acq_vc, n);
    v.cov.join(v.acq_cov, n);
  }
  if (o == seq_cst) {
    fence_cov.join(v.cov, n);
    v.cov.join(fence_cov, n);
    v.sc_fence_step = step_number;
  }
  if (releases(o)) {
    v.rel_vc = v.vc;
    v.rel_cov = v.cov;
    v.has_rel = true;
  }
}

void do_membarrier(memory_view* const* views, std::uint32_t n, std::uint32_t step_number) {
  // A thread's clock names its next step, which is not done yet.
  for (std::uint32_t i = 0; i < n; ++i) {
    vclock done = views[i]->cov;
    --done.at[i];
    fence_cov.join(done, n);
  }
  for (std::uint32_t i = 0; i < n; ++i) {
    views[i]->cov.join(fence_cov, n);
    views[i]->sc_fence_step = step_number;
  }
}

void see_newest(memory_view& v, memory_view* const* all, std::uint32_t n) {
  for (std::uint32_t i = 0; i < n; ++i) {
    if (v.cov.at[i] + 1 < all[i]->vc.at[i]) v.cov.at[i] = all[i]->vc.at[i] - 1;
  }
}

namespace {

// An atomic lives here: a plain access must be ordered with all atomic ones, and a plain write makes it new.
void plain_on_atomic(granule& g, std::uint64_t at, std::uint8_t bytes, bool write, std::uint32_t thread, memory_view& v,
                     std::uint32_t pc) {
  for (std::uint32_t b = 0; b < 8; ++b) {
    if ((g.atomics >> b & 1) == 0) continue;
    const std::uint64_t addr = (at & ~std::uint64_t{7}) + b;
    std::uint32_t i = static_cast<std::uint32_t>((addr * 0x9e3779b97f4a7c15u) >> 50) % location_slots;
    while (locations[i].generation == gen && locations[i].addr != addr) i = (i + 1) % location_slots;
    location& l = locations[i];
    if (l.generation != gen) continue;
    const auto span = static_cast<std::uint8_t>(((1u << l.size) - 1) << b);
    if ((span & bytes) == 0) continue;
    const store& s = stores[l.newest];
    if (!covers(v.vc, s.when) && thread_of(s.when) != thread) race(at, write, thread, {s.when, 0, 0, is_write, 0}, pc);
    for (std::uint32_t t = 0; t < nthreads(); ++t) {
      if (l.last_write[t] != 0 && t != thread && !covers(v.vc, l.last_write[t])) {
        race(at, write, thread, {l.last_write[t], 0, 0, is_write, 0}, pc);
      }
    }
    if (!write) continue;
    for (std::uint32_t t = 0; t < nthreads(); ++t) {
      if (l.last_read[t] != 0 && t != thread && !covers(v.vc, l.last_read[t])) {
        race(at, write, thread, {l.last_read[t], 0, 0, 0, 0}, pc);
      }
    }
    // The next atomic use begins a new history: here, with whatever the plain write leaves behind.
    l.addr = 1;
    g.atomics = static_cast<std::uint8_t>(g.atomics & ~(1u << b));
  }
}

void access_granule(granule& g, std::uint64_t at, std::uint8_t bytes, bool write, std::uint32_t thread, memory_view& v,
                    std::uint32_t pc) {
  if ((g.freed & bytes) != 0) check_not_freed(reinterpret_cast<void*>(at), pc);
  if (g.atomics != 0) plain_on_atomic(g, at, bytes, write, thread, v, pc);
  const epoch now = make_epoch(thread, v.vc.at[thread]);
  const std::uint8_t how = write ? is_write : 0;
  std::uint32_t kept = 0;
  for (std::uint32_t k = 0; k < g.n; ++k) {
    access& a = g.a[k];
    if ((a.bytes & bytes) != 0) {
      const bool known = thread_of(a.when) == thread || covers(v.vc, a.when);
      if (!known && (write || (a.how & is_write) != 0)) race(at, write, thread, a, pc);
      if (a.when == now && a.how == how && a.bytes == bytes) {
        // Seen already, and nothing has happened since.
        for (std::uint32_t j = k; j < g.n; ++j) g.a[kept++] = g.a[j];
        g.n = static_cast<std::uint8_t>(kept);
        return;
      }
      // What the new access stands for need not be kept: an ordered write stands for all, a read for reads.
      if (known && (write || (a.how & is_write) == 0)) {
        a.bytes = static_cast<std::uint8_t>(a.bytes & ~bytes);
        if (a.bytes == 0) continue;
      }
    }
    g.a[kept++] = a;
  }
  g.n = static_cast<std::uint8_t>(kept);
  const access fresh{now, pc, bytes, how, 0};
  if (g.overflow != 0) {
    for (const access& a : spill[g.more]) {
      if ((a.bytes & bytes) == 0 || thread_of(a.when) == thread || covers(v.vc, a.when)) continue;
      if (write || (a.how & is_write) != 0) race(at, write, thread, a, pc);
    }
  }
  if (g.n < inline_accesses) {
    g.a[g.n++] = fresh;
    return;
  }
  if (g.overflow == 0) {
    if (nspill == spill.size()) spill.emplace_back();
    spill[nspill].clear();
    g.more = nspill++;
    g.overflow = 1;
  }
  spill[g.more].push_back(g.a[0]);
  g.a[0] = fresh;
}

}  // namespace

void check_plain(std::uint64_t at, std::size_t size, bool write, std::uint32_t thread, memory_view& v,
                 std::uint32_t pc) {
  // Mostly the same thread does the same again.
  if ((at & 7) + size <= 8) {
    granule& g = granule_at(at);
    const auto bytes = static_cast<std::uint8_t>(((1u << size) - 1) << (at & 7));
    const epoch now = make_epoch(thread, v.vc.at[thread]);
    if ((g.freed & bytes) == 0 && g.atomics == 0) {
      for (std::uint32_t k = 0; k < g.n; ++k) {
        const access& a = g.a[k];
        if (a.when == now && a.bytes == bytes && (a.how & is_write) >= (write ? is_write : 0)) return;
      }
    }
    access_granule(g, at, bytes, write, thread, v, pc);
    return;
  }
  while (size != 0) {
    const std::uint32_t offset = at & 7;
    const std::uint32_t here = size < 8 - offset ? static_cast<std::uint32_t>(size) : 8 - offset;
    const auto bytes = static_cast<std::uint8_t>(((1u << here) - 1) << offset);
    access_granule(granule_at(at), at, bytes, write, thread, v, pc);
    at += here;
    size -= here;
  }
}

void mark_fresh(const void* at, std::size_t bytes) {
  const auto first = reinterpret_cast<std::uint64_t>(at);
  for (std::uint64_t a = first & ~std::uint64_t{7}; a < first + bytes; a += 8) {
    granule& g = granule_at(a);
    g.n = 0;
    g.freed = 0;
    g.overflow = 0;
  }
}

void mark_freed(const void* at, std::size_t bytes, std::uint32_t thread, memory_view& v, std::uint32_t pc) {
  // Freeing is a write: whoever used it last must have handed it over.
  check_plain(reinterpret_cast<std::uint64_t>(at), bytes, true, thread, v, pc);
  const auto first = reinterpret_cast<std::uint64_t>(at);
  for (std::uint64_t a = first & ~std::uint64_t{7}; a < first + bytes; a += 8) {
    granule& g = granule_at(a);
    g.freed = 0xff;
    g.freed_pc = pc;
  }
}

void check_not_freed(const void* at, std::uint32_t pc) {
  const granule& g = granule_at(reinterpret_cast<std::uint64_t>(at));
  if ((g.freed >> (reinterpret_cast<std::uint64_t>(at) & 7) & 1) == 0) return;
  fail("use after free: %p was freed at pc %#x, and is used at pc %#x", at, g.freed_pc, pc);
}

}  // namespace weft::check
