/*
 * stamp.c - what the time stamps of a file can prove.
 *
 * Runs in:  maildrop, session, pop3admin.
 * Trusts:   the kernel for the kind of the file system, and the clock as far
 *           as a stamp in its future is never believed.
 */
#include <stddef.h>
#include <sys/statfs.h>
#include <time.h>
#include "stamp.h"

#define MS INT64_C(1000000)

struct stamp_sources stamp_sources;

void file_stamp_of(const struct stat *st, struct file_stamp *out)
{
	*out = (struct file_stamp){
		.ino = st->st_ino,
		.size = (uint64_t)st->st_size,
		.mtime_ns = st->st_mtim.tv_sec * INT64_C(1000000000) + st->st_mtim.tv_nsec,
		.ctime_ns = st->st_ctim.tv_sec * INT64_C(1000000000) + st->st_ctim.tv_nsec,
	};
}

int64_t stamp_now_ns(void)
{
	struct timespec now;

	if (stamp_sources.now_ns)
		return stamp_sources.now_ns();
	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* By the numbers of statfs(2). */
static const struct {
	uint32_t magic;
	int64_t margin_ns;
} systems[] = {
	{ 0xEF53, 20 * MS },	     /* ext2, ext3, ext4 */
	{ 0x58465342, 20 * MS },     /* xfs */
	{ 0x9123683E, 20 * MS },     /* btrfs */
	{ 0xF2F52010, 20 * MS },     /* f2fs */
	{ 0x2FC12FC1, 20 * MS },     /* zfs */
	{ 0x01021994, 20 * MS },     /* tmpfs */
	{ 0x6969, STAMP_NEVER },     /* nfs */
	{ 0x517B, STAMP_NEVER },     /* smb */
	{ 0xFE534D42, STAMP_NEVER }, /* smb2 */
	{ 0xFF534D42, STAMP_NEVER }, /* cifs */
	{ 0x65735546, STAMP_NEVER }, /* fuse */
	{ 0x01021997, STAMP_NEVER }, /* 9p */
	{ 0x00C36400, STAMP_NEVER }, /* ceph */
	{ 0x5346414F, STAMP_NEVER }, /* afs */
	{ 0x6B414653, STAMP_NEVER }, /* afs of the kernel */
	{ 0x73757245, STAMP_NEVER }, /* coda */
	{ 0x01161970, STAMP_NEVER }, /* gfs2 */
	{ 0x7461636F, STAMP_NEVER }, /* ocfs2 */
	{ 0x0BD00BD0, STAMP_NEVER }, /* lustre */
	{ 0x47504653, STAMP_NEVER }, /* gpfs */
	{ 0x786F4256, STAMP_NEVER }, /* folders of a VirtualBox host */
	{ 0xBACBACBC, STAMP_NEVER }, /* folders of a VMware host */
};

int64_t stamp_margin_ns(int fd)
{
	struct statfs fs;

	if (stamp_sources.margin_ns)
		return stamp_sources.margin_ns(fd);
	if (fstatfs(fd, &fs) < 0)
		return STAMP_NEVER;
	for (size_t i = 0; i < sizeof(systems) / sizeof(systems[0]); i++)
		if (systems[i].magic == (uint32_t)fs.f_type)
			return systems[i].margin_ns;
	return 2000 * MS;
}

bool stamp_is_clean(int64_t stamp_ns, int64_t now_ns, int64_t margin_ns)
{
	int64_t limit;

	return margin_ns != STAMP_NEVER && !__builtin_add_overflow(stamp_ns, margin_ns, &limit) &&
	       limit <= now_ns;
}
