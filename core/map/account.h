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

/* What serves those who name no allocator: malloc and free. */
extern const kv_allocator account_libc;

/* An account with first_bytes on it, which somebody has had from the allocator; NULL: memory is out. */
account *account_new(const kv_allocator *allocator, size_t first_bytes);
void *account_alloc(account *a, size_t size_bytes, size_t alignment);
/* Gives it back. A large block is freed a little later, by the helper of the domain that account_leave_to has named. */
void account_free(account *a, void *memory, size_t size_bytes);
/* Before its helper begins, and NULL before it ends. */
void account_leave_to(account *a, kv_domain *domain);
/* Memory of account_alloc (aligned as by malloc) in another size, at another place maybe; a large one of libc's mostly
 * without being copied. NULL: memory is out, and it is as before. */
void *account_resize(account *a, void *memory, size_t old_bytes, size_t new_bytes);
/* For memory that came from elsewhere: books it in; books it out, and frees the account when nothing is left. */
void account_add(account *a, size_t size_bytes);
void account_remove(account *a, size_t size_bytes);
size_t account_bytes(const account *a);

#endif
