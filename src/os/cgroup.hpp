// cgroup: the CPU quota of the cgroup that this process is in, as Go 1.25 sees it.
//
// Who    cpu_count, at start and when the watch looks again.
// Not    the quotas of the cgroups above (Go looks at the leaf only), cpuset (affinity shows that), shares.
#pragma once

namespace weft::rt::os {

// ceil(quota / period), but at least 2: with one P a goroutine that computes stalls all others for whole slices,
// and the quota throttles anyway. 0: no quota. Version 1 wins over 2 where both are mounted, as the controller
// can only live in one. `root` is put in front of every path: "" in production, a made-up tree in tests.
int cgroup_cpus(const char* root);

}  // namespace weft::rt::os
