/*
 * maildir_impl.h - what the files of the Maildir backend share.  Only for
 * lib/maildir*.c.
 */
#ifndef POP_MAILDIR_IMPL_H
#define POP_MAILDIR_IMPL_H

#include <limits.h>
#include "maildrop_impl.h"

enum maildir_sub { SUB_CUR, SUB_NEW, SUB_COUNT };

/* How a directory looked; all zero where it is missing. */
struct dir_stamp {
	uint64_t ino;
	int64_t mtime_ns, ctime_ns;
};

/* One name of one directory. */
struct dir_name {
	uint64_t number;  /* the digits at its start */
	const char *name; /* in the names of the list */
	uint64_t ino;
	uint32_t at;   /* offset of the name in the names of the list */
	uint16_t sub;  /* enum maildir_sub */
	uint16_t turn; /* which reading found it: the later one knows better */
};

/* Names of mail files, read from one or both directories. */
struct name_list {
	struct dir_name *items;
	size_t count, size;
	char *names; /* NUL-terminated, one after the other */
	size_t names_len, names_size;
};

struct maildir {
	int root_fd;			    /* the Maildir, -1 where there is none */
	int fds[SUB_COUNT];		    /* new and cur, -1 where missing */
	struct dir_stamp stamps[SUB_COUNT]; /* when they were read */
	bool clean[SUB_COUNT];		    /* what was read is what these stamps stand for */
	struct name_list map;		    /* for what was renamed during the session */
	struct dir_stamp map_stamps[SUB_COUNT];
	bool map_known;
	bool stale;	  /* a message was found changed */
	uint8_t *removed; /* bits of the messages that were expunged, or NULL */
	uint8_t *buffer;  /* MAILDIR_BUFFER bytes for reading messages during a scan */
	unsigned skipped; /* entries that are no mail files, told once */
};
#define MAILDIR_BUFFER (256 * 1024)

/* Length of the base of a file name: up to its ':' or end. */
size_t base_length(const char *name);
/* Order of two file names by base: leading number, then the bytes behind.  0: the same base. */
int base_compare(uint64_t a_number, const char *a, uint64_t b_number, const char *b);
/* The digits at the start of a name as a number, UINT64_MAX where they are too many. */
uint64_t base_number(const char *name);

/* Stamps of an opened directory, zero for fd -1.  0 or POP_E_SYS. */
int dir_stamp_of(int fd, struct dir_stamp *out);
bool dir_stamp_equal(const struct dir_stamp *a, const struct dir_stamp *b);

/*
 * Append the mail files' names of one directory: no dot files, no directories;
 * links and other non-files are skipped and counted in md->skipped.  0 or an error.
 */
int name_list_read(struct maildir *dir, struct name_list *l, enum maildir_sub sub, uint16_t turn);
/* Append a name that is known to be there. */
int name_list_add(struct name_list *l, const char *name, uint64_t ino, enum maildir_sub sub,
		  uint16_t turn);
/* Sort, and drop all but the last-read name of one base and inode.  Call once, after all reading.
 */
int name_list_sort(struct name_list *l);
/* The first item of a base, or count.  The list is sorted. */
size_t name_list_find(const struct name_list *l, const char *name);
void name_list_release(struct name_list *l);

/* Read both directories into the map, where they changed since they were last read. */
int maildir_refresh(struct maildir *dir);
/*
 * Where a message is by the map: a name of the same base, with the recorded inode where there
 * are several.  0 and *sub, *found (borrowed until the next refresh), or POP_E_MISSING.
 */
int maildir_find(const struct maildir *dir, const struct msg *m, const char *name,
		 enum maildir_sub *sub, const char **found);
/*
 * Open the file of a message read-only, by its recorded name or the one it has now (which is
 * then recorded), and check that it is what was scanned.  A descriptor, POP_E_CHANGED, POP_E_SYS.
 */
int maildir_open_message(struct maildrop *md, size_t idx, struct msg *m, struct stat *st);

/* Messages known from before, in the order of their bases: an index, or an earlier reading. */
struct known {
	struct maildrop *md; /* whose strings they use */
	size_t count;
	struct msg *msgs; /* owned; NULL: those of the index */
	size_t *only;	  /* owned: which of the index; NULL: all */
	size_t cached;	  /* record + 1 that is in m */
	struct msg m;
	char name[NAME_MAX + 1]; /* of its file */
	uint64_t number;	 /* of its base */
};

/* Have message i in k->m and k->name.  0 or an error. */
int known_get(struct known *k, size_t i);
/* Append a message for each name; both lists are in the order of their bases. */
int maildir_join(struct maildrop *md, const struct name_list *l, struct known *k);
/*
 * Messages that share a base stand in the order of what a copy of the Maildir keeps, so that
 * their ids are the same there.  All of the table is in memory.
 */
int maildir_order_twins(struct maildrop *md);
/*
 * The same as join and order for a list that is not sorted, where the index (all of the table
 * before) knows nearly all names: what it knows is left where it is.
 *   kept_sub  a directory whose names are not in the list since none changed, or -1
 * 1 done, 0 too much is unknown, nothing was done; or an error.
 */
int maildir_join_index(struct maildrop *md, const struct name_list *l, int kept_sub);

/*
 * Fill md with the messages of both directories: from its index, as far as their stamps
 * prove that it is right, else from the directories and what the index knows.  0 or an error.
 */
int maildir_scan(struct maildrop *md, struct pop_why *why);
/* Make all ids known. */
int maildir_uidls(struct maildrop *md);
int maildir_expunge(struct maildrop *md, const uint8_t *deleted, const uint8_t *retrieved,
		    size_t *removed, struct pop_why *why);

void maildir_save(struct maildrop *md);

/* Rename, never over another message.  0 or POP_E_SYS. */
int maildir_rename_new(int from_fd, const char *from, int to_fd, const char *to);
/* Tell a quota keeper (Maildir++), where there is one, what came or (negative) went. */
void maildir_tell_quota(struct maildrop *md, int64_t bytes, int64_t messages);

#endif
