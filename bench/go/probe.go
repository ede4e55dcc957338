// probe: the operations of bench/probe/probe.cpp in Go, under the same names: the line to beat.
//
// Run     probe OPERATION ROUNDS SIZE [PROCS]
// Prints  the least and the median nanoseconds per operation over the rounds, the least nanoseconds of CPU time
//
// weft::semaphore is compared with the semaphore that Go's sync package is made of; it has no public name.
package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	_ "unsafe"
)

//go:linkname acquire sync.runtime_Semacquire
func acquire(s *uint32)

//go:linkname release sync.runtime_Semrelease
func release(s *uint32, handoff bool, skip int)

var wall, cpu []float64

func cpuTime() float64 {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano() + u.Stime.Nano())
}

type roundClock struct {
	wall time.Time
	cpu  float64
}

func (c *roundClock) start() {
	c.cpu = cpuTime()
	c.wall = time.Now()
}

func (c *roundClock) stop(operations int) {
	wall = append(wall, float64(time.Since(c.wall).Nanoseconds())/float64(operations))
	cpu = append(cpu, (cpuTime()-c.cpu)/float64(operations))
}

func roundOf(operations int, f func()) {
	var c roundClock
	c.start()
	f()
	c.stop(operations)
}

// With one P a plain counter is right as long as nobody is preempted inside the increment, and a wrong count now
// and then does not matter.
func yield(rounds, goroutines int) {
	const perRound = 20_000
	var yields, round = 0, -1
	var stop bool
	var c roundClock
	var all sync.WaitGroup
	for i := 0; i < goroutines; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for !stop {
				yields++
				if yields%perRound == 0 {
					if round >= 0 {
						c.stop(perRound)
					}
					round++
					stop = round == rounds
					c.start()
				}
				runtime.Gosched()
			}
		}()
	}
	all.Wait()
}

func spawn(rounds, batch int) {
	var done uint32
	var left int
	once := func() {
		left = batch
		for i := 0; i < batch; i++ {
			go func() {
				left--
				if left == 0 {
					release(&done, false, 0)
				}
			}()
		}
		acquire(&done)
	}
	once()
	for r := 0; r < rounds; r++ {
		roundOf(batch, once)
	}
}

func spawnOne(rounds, n int) {
	for r := 0; r < rounds; r++ {
		roundOf(n, func() {
			for i := 0; i < n; i++ {
				go func() {}()
				runtime.Gosched()
			}
		})
	}
}

func parkAll(n int, whenAllWait func()) {
	var gate, allWait uint32
	var ended sync.WaitGroup
	coming := int64(n)
	for i := 0; i < n; i++ {
		ended.Add(1)
		go func() {
			defer ended.Done()
			if atomic.AddInt64(&coming, -1) == 0 {
				release(&allWait, false, 0)
			}
			acquire(&gate)
		}()
	}
	acquire(&allWait)
	runtime.Gosched()
	whenAllWait()
	for i := 0; i < n; i++ {
		release(&gate, false, 0)
	}
	ended.Wait()
}

func spawnAndPark(rounds, n int) {
	parkAll(n, func() {})
	for r := 0; r < rounds; r++ {
		roundOf(n, func() { parkAll(n, func() {}) })
	}
}

func pingPong(rounds, n int, locked bool) {
	var ping, pong uint32
	var stop bool
	var other sync.WaitGroup
	operations := n
	if locked {
		operations = 2 * n
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
	}
	other.Add(1)
	go func() {
		defer other.Done()
		if locked {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
		}
		for {
			acquire(&ping)
			if stop {
				return
			}
			release(&pong, false, 0)
		}
	}()
	for r := 0; r < rounds; r++ {
		roundOf(operations, func() {
			for i := 0; i < n; i++ {
				release(&ping, false, 0)
				acquire(&pong)
			}
		})
	}
	stop = true
	release(&ping, false, 0)
	other.Wait()
}

func semaphoreRoundTrip(rounds, n int) { pingPong(rounds, n, false) }

func lockedPingPong(rounds, n int) { pingPong(rounds, n, true) }

func gomaxprocs(rounds, n int) {
	procs := runtime.GOMAXPROCS(0)
	for r := 0; r < rounds; r++ {
		roundOf(n, func() {
			for i := 0; i < n; i++ {
				runtime.GOMAXPROCS(procs + 1 - i%2)
			}
		})
	}
}

func semaphoreFree(rounds, n int) {
	s := uint32(1)
	for r := 0; r < rounds; r++ {
		roundOf(n, func() {
			for i := 0; i < n; i++ {
				acquire(&s)
				release(&s, false, 0)
			}
		})
	}
}

func mutexFree(rounds, n int) {
	var mu sync.Mutex
	for r := 0; r < rounds; r++ {
		roundOf(n, func() {
			for i := 0; i < n; i++ {
				mu.Lock()
				mu.Unlock()
			}
		})
	}
}

func waitGroupAddDone(rounds, n int) {
	var wg sync.WaitGroup
	for r := 0; r < rounds; r++ {
		roundOf(n, func() {
			for i := 0; i < n; i++ {
				wg.Add(1)
				wg.Done()
			}
		})
	}
}

func residentBytes() float64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		panic(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		panic(err)
	}
	return float64(pages * os.Getpagesize())
}

func queuedBytes(_, n int) {
	var wg sync.WaitGroup
	before := residentBytes()
	wg.Add(n)
	for i := 0; i < n; i++ {
		go func() { wg.Done() }()
	}
	wall = append(wall, (residentBytes()-before)/float64(n))
	wg.Wait()
}

func parkedBytes(_, n int) {
	before := residentBytes()
	parkAll(n, func() { wall = append(wall, (residentBytes()-before)/float64(n)) })
}

func hello(_, _ int) {
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		fmt.Println("hello")
	}()
	wg.Wait()
	os.Exit(0)
}

var operations = map[string]func(rounds, size int){
	"yield": yield, "spawn": spawn, "spawn_one": spawnOne, "spawn_and_park": spawnAndPark,
	"semaphore_round_trip": semaphoreRoundTrip, "semaphore_free": semaphoreFree, "mutex_free": mutexFree,
	"locked_ping_pong": lockedPingPong, "gomaxprocs": gomaxprocs, "wait_group_add_done": waitGroupAddDone, "queued_bytes": queuedBytes, "parked_bytes": parkedBytes,
}

func main() {
	// bench/probe/launch gives no arguments.
	if len(os.Args) == 1 {
		hello(0, 0)
	}
	var f func(rounds, size int)
	numbers := []int{1, 1, 1}
	if len(os.Args) == 4 || len(os.Args) == 5 {
		f = operations[os.Args[1]]
		for i, text := range os.Args[2:] {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 {
				f = nil
			}
			numbers[i] = n
		}
	}
	if f == nil {
		fmt.Fprintln(os.Stderr, "usage: probe OPERATION ROUNDS SIZE [PROCS]; see bench/probe/probe.cpp")
		os.Exit(2)
	}
	runtime.GOMAXPROCS(numbers[2])
	// Collection of garbage is not what is compared; the goroutines themselves are never collected.
	debug.SetGCPercent(-1)
	f(numbers[0], numbers[1])
	sort.Float64s(wall)
	least := 0.0
	if len(cpu) > 0 {
		sort.Float64s(cpu)
		least = cpu[0]
	}
	fmt.Printf("%.3f %.3f %.3f\n", wall[0], wall[len(wall)/2], least)
}
