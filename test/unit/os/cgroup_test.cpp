#include "os/cgroup.hpp"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace {

using weft::rt::os::cgroup_cpus;

// A made-up root directory.
class cgroup : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = std::filesystem::temp_directory_path() / "weft_cgroup_XXXXXX";
    ASSERT_NE(nullptr, ::mkdtemp(name.data()));
    root_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  void write(const std::string& path, const std::string& content) {
    const std::filesystem::path file = root_ + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << content;
  }
  void mounts(const std::string& lines) {
    write("/proc/self/mountinfo", "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw\n" + lines);
  }
  int v2(const std::string& cpu_max) {
    write("/proc/self/cgroup", "0::/user/app\n");
    mounts("30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n");
    write("/sys/fs/cgroup/user/app/cpu.max", cpu_max);
    return cpus();
  }
  int v1(const std::string& quota, const std::string& period) {
    write("/proc/self/cgroup", "9:memory:/elsewhere\n4:cpu,cpuacct:/user/app\n0::/\n");
    mounts(
        "31 22 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        "32 22 0:28 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:10 - cgroup cgroup rw,cpu,cpuacct\n"
        "33 22 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
    write("/sys/fs/cgroup/cpu,cpuacct/user/app/cpu.cfs_quota_us", quota);
    write("/sys/fs/cgroup/cpu,cpuacct/user/app/cpu.cfs_period_us", period);
    return cpus();
  }
  int cpus() const { return cgroup_cpus(root_.c_str()); }

  std::string root_;
};

TEST_F(cgroup, a_whole_quota_is_taken_as_it_is) {
  EXPECT_EQ(3, v2("300000 100000\n"));
  EXPECT_EQ(3, v1("300000\n", "100000\n"));
}

TEST_F(cgroup, a_fraction_is_rounded_up) {
  EXPECT_EQ(3, v2("250000 100000\n"));
  EXPECT_EQ(3, v2("200001 100000\n"));
  EXPECT_EQ(3, v1("125000\n", "50000\n"));
}

TEST_F(cgroup, at_least_two_are_used) {
  EXPECT_EQ(2, v2("50000 100000\n"));
  EXPECT_EQ(2, v2("100000 100000\n"));
  EXPECT_EQ(2, v1("1000\n", "100000\n"));
}

TEST_F(cgroup, no_quota_is_no_limit) {
  EXPECT_EQ(0, v2("max 100000\n"));
  EXPECT_EQ(0, v1("-1\n", "100000\n"));
}

TEST_F(cgroup, what_cannot_be_read_is_no_limit) {
  EXPECT_EQ(0, cpus());
  EXPECT_EQ(0, v2(""));
  EXPECT_EQ(0, v2("rubbish\n"));
  EXPECT_EQ(0, v2("300000\n"));
  EXPECT_EQ(0, v2("300000 0\n"));
  EXPECT_EQ(0, v2("99999999999999999999999999 100000\n"));
  EXPECT_EQ(0, v1("", ""));
}

TEST_F(cgroup, a_missing_line_end_is_fine) { EXPECT_EQ(3, v2("300000 100000")); }

TEST_F(cgroup, version_1_wins_where_both_are_mounted) {
  write("/sys/fs/cgroup/unified/cpu.max", "700000 100000\n");
  EXPECT_EQ(3, v1("300000\n", "100000\n"));
  write("/proc/self/cgroup", "0::/\n4:cpu,cpuacct:/user/app\n");
  EXPECT_EQ(3, cpus());
}

TEST_F(cgroup, in_a_hybrid_without_a_version_1_cpu_controller_version_2_counts) {
  v1("300000\n", "100000\n");
  write("/proc/self/cgroup", "9:memory:/elsewhere\n5:cpuset:/\n0::/app\n");
  write("/sys/fs/cgroup/unified/app/cpu.max", "700000 100000\n");
  EXPECT_EQ(7, cpus());
}

TEST_F(cgroup, a_mount_that_shows_a_part_of_the_hierarchy_is_followed) {
  write("/proc/self/cgroup", "0::/docker/0123/app\n");
  mounts(
      "30 22 0:26 /docker/01 /wrong rw - cgroup2 cgroup2 rw\n"
      "31 22 0:26 /docker/0123 /sys/fs/cgroup rw shared:9 master:3 - cgroup2 cgroup2 rw\n");
  write("/wrong/23/app/cpu.max", "900000 100000\n");
  write("/sys/fs/cgroup/app/cpu.max", "500000 100000\n");
  EXPECT_EQ(5, cpus());
}

TEST_F(cgroup, the_root_of_a_container_has_its_quota_at_the_mount_point) {
  write("/proc/self/cgroup", "4:cpu:/docker/0123\n");
  mounts("31 22 0:26 /docker/0123 /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n");
  write("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "400000\n");
  write("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(4, cpus());
}

TEST_F(cgroup, blanks_in_a_mount_point_are_octal) {
  write("/proc/self/cgroup", "0::/\n");
  mounts("30 22 0:26 / /my\\040groups rw - cgroup2 cgroup2 rw\n");
  write("/my groups/cpu.max", "600000 100000\n");
  EXPECT_EQ(6, cpus());
}

TEST_F(cgroup, lines_longer_than_any_buffer_are_passed_over) {
  v2("300000 100000\n");
  mounts("23 22 0:30 / /merged rw - overlay overlay rw,lowerdir=" + std::string(20000, 'x') +
         "\n30 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  EXPECT_EQ(3, cpus());
  for (const std::size_t length : {4095, 4096, 4097, 8192}) {
    mounts(std::string(length, 'x') + "30 22 0:26 / /wrong rw - cgroup2 cgroup2 rw" +
           "\n30 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    EXPECT_EQ(3, cpus()) << length;
  }
  mounts(std::string(4095, 'a') + "\n" + std::string(4096, 'b') + "\n" + std::string(4097, 'c') +
         "\n30 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  EXPECT_EQ(3, cpus());
}

TEST_F(cgroup, a_path_that_is_too_long_is_no_limit) {
  v2("300000 100000\n");
  write("/proc/self/cgroup", "0::/" + std::string(4000, 'y') + "/" + std::string(80, 'z') + "\n");
  EXPECT_EQ(0, cpus());
}

TEST_F(cgroup, the_real_one_can_be_read) { EXPECT_GE(cgroup_cpus(""), 0); }

}  // namespace
