// The operations of bench/probe/chan.cpp in Go.
package main

import (
	"runtime"
	"sync"
)

func check(ok bool) {
	if !ok {
		panic("wrong value")
	}
}

func loop(rounds, n int, operation func()) {
	for r := 0; r < rounds; r++ {
		roundOf(n, func() {
			for i := 0; i < n; i++ {
				operation()
			}
		})
	}
}

func chanRoundTrip(rounds, n int) {
	there, back := make(chan uint64), make(chan uint64)
	go func() {
		for v := range there {
			back <- v
		}
	}()
	loop(rounds, n, func() {
		there <- 1
		check(<-back == 1)
	})
	close(there)
}

func through(rounds, n, capacity, pairs int) {
	c := make(chan uint64, capacity)
	var consumers sync.WaitGroup
	for i := 0; i < pairs; i++ {
		consumers.Add(1)
		go func() {
			defer consumers.Done()
			for v := range c {
				check(v == 1)
			}
		}()
	}
	for r := 0; r < rounds; r++ {
		roundOf(n, func() {
			var producers sync.WaitGroup
			for i := 0; i < pairs; i++ {
				producers.Add(1)
				go func() {
					defer producers.Done()
					for k := 0; k < n/pairs; k++ {
						c <- 1
					}
				}()
			}
			producers.Wait()
			for len(c) != 0 {
				runtime.Gosched()
			}
		})
	}
	close(c)
	consumers.Wait()
}

func chanRing(rounds, size int) {
	first := make(chan uint64)
	in := first
	for i := 1; i < size; i++ {
		out := make(chan uint64)
		go func(in, out chan uint64) {
			for v := range in {
				out <- v
			}
			close(out)
		}(in, out)
		in = out
	}
	turns := 10_000/size + 1
	for r := 0; r < rounds; r++ {
		roundOf(turns*size, func() {
			for i := 0; i < turns; i++ {
				first <- 1
				check(<-in == 1)
			}
		})
	}
	close(first)
}

func selectPlain(rounds, n, capacity int) {
	var c [4]chan uint64
	for i := range c {
		c[i] = make(chan uint64, capacity)
	}
	items := make(chan int, 1)
	go func() {
		for batch := range items {
			for i := 0; i < batch; i++ {
				c[i&3] <- 1
			}
		}
	}()
	for r := 0; r < rounds; r++ {
		roundOf(n, func() {
			items <- n
			for i := 0; i < n; i++ {
				var v uint64
				select {
				case v = <-c[0]:
				case v = <-c[1]:
				case v = <-c[2]:
				case v = <-c[3]:
				}
				check(v == 1)
			}
		})
	}
	close(items)
}

func mutexContended(rounds, goroutines int) {
	const each = 100
	for r := 0; r < rounds; r++ {
		var mu sync.Mutex
		var all sync.WaitGroup
		roundOf(goroutines*each, func() {
			for i := 0; i < goroutines; i++ {
				all.Add(1)
				go func() {
					defer all.Done()
					for k := 0; k < each; k++ {
						mu.Lock()
						runtime.Gosched()
						mu.Unlock()
					}
				}()
			}
			all.Wait()
		})
	}
}

func skynetLeaf(out chan uint64, number, size int) {
	if size == 1 {
		out <- uint64(number)
		return
	}
	in := make(chan uint64, 10)
	for i := 0; i < 10; i++ {
		go skynetLeaf(in, number+i*(size/10), size/10)
	}
	sum := uint64(0)
	for i := 0; i < 10; i++ {
		sum += <-in
	}
	out <- sum
}

func chanSkynet(rounds, leaves int) {
	for r := 0; r < rounds; r++ {
		roundOf(leaves, func() {
			result := make(chan uint64)
			go skynetLeaf(result, 0, leaves)
			check(<-result == uint64(leaves)*uint64(leaves-1)/2)
		})
	}
}

// n goroutines that wait in one channel, and are woken by its close.
func parkedOnAChannel(n int, what string) {
	gate := make(chan struct{})
	var all sync.WaitGroup
	before := residentBytes()
	begun := cpuTime()
	for i := 0; i < n; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			<-gate
		}()
		if i%100 == 99 {
			runtime.Gosched()
		}
	}
	runtime.Gosched()
	waiting := cpuTime()
	bytes := residentBytes() - before
	closing := cpuTime()
	close(gate)
	all.Wait()
	over := cpuTime()
	total := map[string]float64{"bytes": bytes, "creation": waiting - begun, "end": over - closing}[what]
	wall = append(wall, total/float64(n))
}

func init() {
	for name, f := range map[string]func(rounds, size int){
		"chan_round_trip":      chanRoundTrip,
		"chan_buffered":        func(rounds, n int) { through(rounds, n, 100, 1) },
		"chan_buffered_10":     func(rounds, n int) { through(rounds, n, 10, 1) },
		"chan_buffered_4x4":    func(rounds, n int) { through(rounds, n, 100, 4) },
		"chan_ring":            chanRing,
		"select_buffered":      func(rounds, n int) { selectPlain(rounds, n, 100) },
		"select_unbuffered":    func(rounds, n int) { selectPlain(rounds, n, 0) },
		"mutex_contended":      mutexContended,
		"chan_skynet":          chanSkynet,
		"chan_parked_bytes":    func(_, n int) { parkedOnAChannel(n, "bytes") },
		"chan_parked_creation": func(_, n int) { parkedOnAChannel(n, "creation") },
		"chan_parked_end":      func(_, n int) { parkedOnAChannel(n, "end") },
	} {
		operations[name] = f
	}
}
