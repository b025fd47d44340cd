/* account.h - where a domain's memory comes from, and how much of it there is.
 *
 *     void *p = account_alloc(account, size, alignment);   // NULL: memory is out
 *     account_free(account, p, size);
 *
 * A kv_bytes may outlive the domain it was made in, so what it needs to be freed is not the domain's: the
 * account goes with the last byte that is on it, the domain's own included. NULL is libc's memory, on no account.
 *
 * Private to core. SPDX-License-Identifier: MIT */
#ifndef KV_MAP_ACCOUNT_H
#define KV_MAP_ACCOUNT_H

#include "kvstore/kvstore.h"

typedef struct account account;

/* An account with first_bytes on it, which somebody has had from the allocator; NULL: memory is out. */
account *account_new(const kv_allocator *allocator, size_t first_bytes);
void *account_alloc(account *a, size_t size_bytes, size_t alignment);
void account_free(account *a, void *memory, size_t size_bytes);
/* For memory that came from elsewhere: books it in; books it out, and frees the account when nothing is left. */
void account_add(account *a, size_t size_bytes);
void account_remove(account *a, size_t size_bytes);
size_t account_bytes(const account *a);

#endif
