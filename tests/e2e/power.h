/* power.h - a power cut: takes from a directory what had not reached the disk, as recorded by core/persist/fault_record.h.
 *
 *     setenv("KV_AOF_FAULTS", "record:/dir/power", 1);       // a server writes in /dir, and is killed
 *     power_cut("/dir", "/dir/power", &seed);                // what is left in /dir may be what a disk would have
 *     power_forget("/dir/power");                            // before the next server
 *
 * Names that were made, renamed or removed and are in no synced directory are there as before, from some moment on. Of the bytes behind
 * the last sync of a file some are cut off, and some pages are zeros: chosen by the seed.
 *
 * SPDX-License-Identifier: MIT */
#ifndef TESTS_POWER_H
#define TESTS_POWER_H

void power_cut(const char *directory, const char *record, unsigned *seed);
/* Removes what was recorded. */
void power_forget(const char *record);

#endif
