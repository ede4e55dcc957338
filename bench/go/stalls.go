package main

import (
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

// How late a goroutine is that sleeps a millisecond at a time, beside n that spin; as bench/probe/stalls.cpp.
func besideLoops(rounds, n int, share float64) {
	for r := 0; r < rounds; r++ {
		var over atomic.Bool
		var late []float64
		var all sync.WaitGroup
		all.Add(n + 1)
		go func() {
			defer all.Done()
			last := time.Now()
			for !over.Load() {
				time.Sleep(time.Millisecond)
				now := time.Now()
				late = append(late, float64((now.Sub(last) - time.Millisecond).Nanoseconds()))
				last = now
			}
		}()
		time.Sleep(20 * time.Millisecond)
		end := time.Now().Add(3 * time.Second)
		for i := 0; i < n; i++ {
			go func() {
				defer all.Done()
				for !over.Load() {
				}
			}()
		}
		for time.Now().Before(end) {
			time.Sleep(10 * time.Millisecond)
		}
		over.Store(true)
		all.Wait()
		sort.Float64s(late)
		wall = append(wall, late[int(share*float64(len(late)-1))])
		cpu = append(cpu, 0)
	}
}

func init() {
	operations["beside_loops_99"] = func(rounds, n int) { besideLoops(rounds, n, 0.99) }
	operations["beside_loops_worst"] = func(rounds, n int) { besideLoops(rounds, n, 1) }
}
