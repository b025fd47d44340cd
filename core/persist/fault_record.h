/* fault_record.h - what a power cut would leave: a record of what reached the disk, for tests that take the rest away.
 *
 * A line for each call that matters, in a file `record`:
 *
 *     sync INODE SIZE          so many bytes of that file are on disk, as they are now
 *     directory PATH           the names in it are
 *     create PATH              a name is new
 *     rename N FROM TO         N: TO as it was, a link in the record's directory; -: there was none
 *     unlink N PATH            the same of PATH
 *
 * A line about a sync is written after it, one about a name before: a process that is killed in between has promised nothing.
 *
 * Threads    Any. SPDX-License-Identifier: MIT */
#ifndef KV_PERSIST_FAULT_RECORD_H
#define KV_PERSIST_FAULT_RECORD_H

#include <sys/types.h>

typedef struct fault_record fault_record;

/* directory exists, on the file system of what is recorded. Aborts if it cannot be used: it is a test that is wrong. */
fault_record *fault_record_new(const char *directory);
void fault_record_free(fault_record *record);

/* The size to be told when a sync that begins now succeeds. NULL is no record, here and below. */
off_t fault_record_size(const fault_record *record, int fd);
/* The same of a file that may have more than what was written to it from its beginning on: filler, which is overwritten later. */
off_t fault_record_position(const fault_record *record, int fd);
void fault_record_sync(fault_record *record, int fd, off_t size);
void fault_record_create(fault_record *record, const char *path);
void fault_record_rename(fault_record *record, const char *from, const char *to);
void fault_record_unlink(fault_record *record, const char *path);

#endif
