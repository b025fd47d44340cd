/* acl_test.c - users in files, across workers, and protections that a start decides.
 *
 * SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "e2e.h"

/* ---- files ---- */

static void a_file_is_loaded_whole_or_not_at_all(void **state)
{
    char *directory = new_directory(), path[300], expected[2000];
    server *s;
    conn *c, *alice;

    (void)state;
    snprintf(path, sizeof path, "%s/users.acl", directory);
    write_file(path, "user alice on nopass ~* +get\n\nuser   bob   off\n");
    s = begin("--aclfile", path, "--threads", "2");
    c = connect_to(s);
    alice = connect_to(s);
    says(c, "*3 $alice $bob $default", "ACL", "USERS");
    says(alice, "+OK", "AUTH", "alice", "x");
    write_file(path, "user carol on +get\nuser carol on\nuser dave +nope\nwhat is this\n");
    snprintf(expected, sizeof expected,
             "-ERR WARNING: Duplicate user 'carol' found on line 2. %s:3: Error in applying operation "
             "'+nope': Unknown command "
             "or category name in ACL. %s:4 should start with user keyword followed by the username. "
             "WARNING: ACL errors "
             "detected, no change to the previously active ACL rules was performed",
             path, path);
    says(c, expected, "ACL", "LOAD");
    says(c, "*3 $alice $bob $default", "ACL", "USERS");
    says(alice, "_", "GET", "k");
    write_file(path, "user alice on nopass ~* +set\n");
    says(c, "+OK", "ACL", "LOAD");
    says(c, "*2 $alice $default", "ACL", "USERS");
    assert_null(conn_read(alice)); /* he is another user now */
    conn_close(alice);
    unlink(path);
    snprintf(expected, sizeof expected,
             "-ERR Error loading ACLs, opening file '%s': No such file or directory", path);
    says(c, expected, "ACL", "LOAD");
    conn_close(c);
    end(s);
    remove_directory(directory);
}

static void users_are_saved_where_only_the_owner_reads(void **state)
{
    char *directory = new_directory(), path[300], *text;
    struct stat info;
    server *s;
    conn *c;

    (void)state;
    snprintf(path, sizeof path, "%s/users.acl", directory);
    write_file(path, "");
    assert_int_equal(chmod(path, 0644), 0);
    s = begin("--aclfile", path);
    c = connect_to(s);
    says(c, "+OK", "ACL", "SETUSER", "alice", "on", ">pw", "~a\"b", "+get", "(+set ~c)", "-@scripting");
    says(c, "+OK", "ACL", "SAVE");
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    text = read_file(path);
    assert_string_equal(
        text,
        "user alice on #30c952fab122c3f9759f02a6d95c3758b246b4fee239957b2d4fee46e26170c4 ~a\"b resetchannels "
        "-@all +get (~c resetchannels -@all +set)\nuser default on nopass ~* &* +@all\n");
    free(text);
    says(c, "+OK", "ACL", "LOAD");
    conn_close(c);
    c = connect_to(s);
    says(c, "+OK", "AUTH", "alice", "pw");
    conn_close(c);
    end(s);
    remove_directory(directory);
}

static void the_configuration_keeps_users(void **state)
{
    char *directory = new_directory(), path[300], *text;
    server *s;
    conn *c;

    (void)state;
    snprintf(path, sizeof path, "%s/kv.conf", directory);
    write_file(path, "# users\nuser alice on >pw ~a +get\nuser default on nopass ~* +@all\n# end\n");
    s = e2e_begin(false, (const char *const[]){ path, NULL });
    c = connect_to(s);
    says(c,
         "*2 $\"user alice on #30c952fab122c3f9759f02a6d95c3758b246b4fee239957b2d4fee46e26170c4 ~a "
         "resetchannels -@all +get\"",
         "ACL", "LIST");
    says(c, "+OK", "ACL", "SETUSER", "bob", "~x'y", "allchannels", "(+get ~z)");
    says(c, ":1", "ACL", "DELUSER", "nobody", "alice");
    says(c, "+OK", "CONFIG", "REWRITE");
    conn_close(c);
    end(s);
    text = read_file(path);
    assert_non_null(strstr(
        text,
        "# users\nuser bob off \"~x'y\" &* -@all (~z resetchannels -@all +get)\nuser default on nopass "));
    assert_non_null(strstr(text, "# end\n"));
    free(text);
    s = e2e_begin(false, (const char *const[]){ path, NULL });
    c = connect_to(s);
    says(c, "*2 $\"user bob off ~x'y &* -@all (~z resetchannels -@all +get)\"", "ACL", "LIST");
    conn_close(c);
    end(s);
    remove_directory(directory);
}

/* Runs kvserver, which must refuse to start; its output holds what is expected, and no secret. */
static void expect_refusal(const char *configuration, const char *expected)
{
    char *directory = new_directory(), path[300], *output = NULL;

    snprintf(path, sizeof path, "%s/kv.conf", directory);
    write_file(path, configuration);
    assert_int_not_equal(
        run_program((const char *const[]){ kvserver_path(), path, "--port", "0", "--unixsocket", "s", NULL },
                    directory, &output),
        0);
    if (!strstr(output, expected))
        fail_msg("expected: %s\ngot: %s", expected, output);
    assert_null(strstr(output, "hunter2"));
    free(output);
    remove_directory(directory);
}

static void wrong_configurations_are_refused_without_their_secrets(void **state)
{
    (void)state;
    expect_refusal(
        "port 0\nuser alice on >hunter2 +foo\n",
        "at line 2\n>>> 'user'\nError in user declaration '+foo': Unknown command or category name in ACL");
    expect_refusal("user alice on <hunter2\n", "Error in user declaration 'alice': The password you are "
                                               "trying to remove from the user does not exist");
    expect_refusal("user alice on (+get >hunter2\n",
                   "Error in user declaration 'alice': Unmatched parenthesis");
    expect_refusal("user alice on\nuser alice off\n",
                   "Error in user declaration 'alice': Duplicate user found");
    expect_refusal("user\n", "Bad directive or wrong number of arguments");
    expect_refusal("user alice on >hunter2\naclfile users.acl\n", "but not both");
    expect_refusal("aclfile users.acl\n",
                   "Error loading ACLs, opening file 'users.acl': No such file or directory");
    expect_refusal("rename-command nope x\n", "No such command in rename-command");
    expect_refusal("rename-command get set\n", "Target command name already exists");
    expect_refusal("rename-command get\n", "Bad directive or wrong number of arguments");
    expect_refusal("requirepass hunter2 more\n", ">>> 'requirepass'");
    expect_refusal("masterauth hunter2 more\n", ">>> 'masterauth'");
}

/* ---- names ---- */

static void renamed_commands_answer_to_their_new_names(void **state)
{
    server *s =
        begin("--rename-command", "FLUSHALL", "", "--rename-command", "CONFIG", "CFG", "--threads", "2");
    conn *c = connect_to(s), *other = connect_to(s);

    (void)state;
    says(c, "-ERR unknown command 'flushall', with args beginning with: ", "flushall");
    says(c, "-ERR unknown command 'config', with args beginning with: 'get' 'port' ", "config", "get",
         "port");
    says(c, "*2 $port $0", "cfg", "get", "port");
    says(c, "*1 _", "COMMAND", "INFO", "flushall");
    says(c, "*1 *10 $config ", "COMMAND", "INFO", "cfg");
    says(c, "*0", "COMMAND", "LIST", "FILTERBY", "PATTERN", "flushall");
    says(c, "*1 $config|get", "COMMAND", "LIST", "FILTERBY", "PATTERN", "config|get");
    says(c, "-ERR unknown subcommand 'x'. Try CONFIG HELP.", "CFG", "x");
    says(c, "+OK", "ACL", "SETUSER", "alice", "on", "nopass", "+config|get", "+flushall");
    says(c, "-ERR Error in ACL SETUSER modifier '+cfg': Unknown command or category name in ACL", "ACL",
         "SETUSER", "alice", "+cfg");
    says(c, "-ERR Command 'config' not found", "ACL", "DRYRUN", "alice", "config", "get", "x");
    says(c, "+OK", "ACL", "DRYRUN", "alice", "cfg", "get", "x");
    says(other, "+OK", "AUTH", "alice", "x");
    says(other, "*2 $port $0", "CFG", "get", "port");
    says(other, "-NOPERM this user has no permissions to run the 'config|set' command", "CFG", "set", "port",
         "0");
    conn_close(c);
    conn_close(other);
    end(s);
}

static void protected_commands_run_where_they_are_allowed(void **state)
{
    server *s = begin("--enable-module-command", "local", "--enable-protected-configs", "yes");
    conn *c = connect_to(s);

    (void)state;
    says(c, "-ERR Error loading the extension. Please check the server logs.", "MODULE", "LOAD", "/no/such");
    says(c, "-ERR Error unloading module: no such module with that name", "MODULE", "UNLOAD", "x");
    says(c, "+OK", "CONFIG", "SET", "dbfilename", "other.rdb");
    conn_close(c);
    end(s);
}

/* ---- several workers ---- */

enum { clients = 6, changes = 150 };

typedef struct crowd {
    server *s;
    _Atomic long allowed; /* the change that is in force at least: counts up after each reply */
    _Atomic bool over;
    _Atomic long checks;
} crowd;

/* Alice may GET after an even change and SET after an odd one. A command that began after a change was acknowledged and ended before the
 * next was asked for must be answered by that change. */
static void *use(void *arg)
{
    crowd *all = arg;
    conn *c = connect_to(all->s);
    unsigned asked = 0;

    says(c, "+OK", "AUTH", "alice", "x");
    while (!atomic_load(&all->over)) {
        long before = atomic_load(&all->allowed), after;
        bool may_get = before / 2 % 2 == 0, asks_get = asked++ % 2 == 0, denied;
        reply *r;

        conn_send(c, asks_get ? KV_STR("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n")
                              : KV_STR("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n"));
        r = conn_read(c);
        assert_non_null(r);
        denied = r->type == '-';
        reply_free(r);
        after = atomic_load(&all->allowed);
        if (before % 2 == 0 && before == after) {
            assert_int_equal(denied, asks_get != may_get);
            atomic_fetch_add(&all->checks, 1);
        }
    }
    conn_close(c);
    return NULL;
}

/* Odd: a change is under way. */
static void change(crowd *all, conn *c, int number)
{
    atomic_fetch_add(&all->allowed, 1);
    if (number % 2)
        says(c, "+OK", "ACL", "SETUSER", "alice", "-get", "+set");
    else
        says(c, "+OK", "ACL", "SETUSER", "alice", "-set", "+get");
    atomic_fetch_add(&all->allowed, 1);
}

static void changes_reach_every_worker_before_their_reply(const char *sharing)
{
    crowd all = { .s = begin("--threads", "3", "--sharing", sharing) };
    conn *c = connect_to(all.s), *admin = connect_to(all.s);
    pthread_t threads[clients];

    says(c, "+OK", "ACL", "SETUSER", "alice", "on", "nopass", "~*", "+get");
    says(c, "+OK", "ACL", "SETUSER", "admin", "on", "nopass", "+acl");
    says(admin, "+OK", "AUTH", "admin", "x");
    for (int i = 0; i < clients; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use, &all), 0);
    for (int i = 1; i <= changes; i++) {
        change(&all, i % 3 ? c : admin, i);
        if (i % 10 == 0)
            usleep(1000); /* lets some commands through between two changes */
    }
    atomic_store(&all.over, true);
    for (int i = 0; i < clients; i++)
        pthread_join(threads[i], NULL);
    assert_true(atomic_load(&all.checks) > 0);
    says(c, ":2", "ACL", "DELUSER", "alice", "admin");
    assert_null(conn_read(admin));
    conn_close(admin);
    conn_close(c);
    end(all.s);
}

static void users_change_while_many_act_for_them(void **state)
{
    (void)state;
    changes_reach_every_worker_before_their_reply("sharded");
}

static void users_change_while_the_state_thread_acts_for_them(void **state)
{
    (void)state;
    changes_reach_every_worker_before_their_reply("actor");
}

/* ---- what listens ---- */

static void the_socket_file_has_its_mode_from_the_start(void **state)
{
    server *s = begin("--unixsocketperm", "700"), *plain = begin("--port", "0");
    struct stat info;

    (void)state;
    assert_int_equal(stat(server_socket(s), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    assert_int_equal(stat(server_socket(plain), &info), 0);
    assert_int_equal(info.st_mode & 0077, 0);
    end(s);
    end(plain);
}

static bool owns_socket(pid_t pid, unsigned long inode)
{
    char directory[64], path[PATH_MAX], target[64], wanted[64];
    DIR *files;
    bool found = false;

    snprintf(directory, sizeof directory, "/proc/%d/fd", (int)pid);
    snprintf(wanted, sizeof wanted, "socket:[%lu]", inode);
    files = opendir(directory);
    for (struct dirent *file; files && !found && (file = readdir(files));) {
        ssize_t n;

        snprintf(path, sizeof path, "%s/%s", directory, file->d_name);
        n = readlink(path, target, sizeof target - 1);
        target[n > 0 ? n : 0] = '\0';
        found = strcmp(target, wanted) == 0;
    }
    if (files)
        closedir(files);
    return found;
}

/* Every address a process listens on, "IP:PORT " in the kernel's hexadecimal form. */
static void listening(pid_t pid, char *text, size_t size)
{
    static const char *const tables[] = { "tcp", "tcp6", "udp", "udp6" };
    char path[64], line[512], local[64], state[8];
    size_t len = 0;

    text[0] = '\0';
    for (int i = 0; i < 4; i++) {
        FILE *table;

        snprintf(path, sizeof path, "/proc/%d/net/%s", (int)pid, tables[i]);
        table = fopen(path, "r");
        while (table && fgets(line, sizeof line, table)) {
            unsigned long inode;

            if (sscanf(line, " %*d: %63s %*s %7s %*s %*s %*s %*s %*s %lu", local, state, &inode) == 3 &&
                (i > 1 || strcmp(state, "0A") == 0) && owns_socket(pid, inode))
                len += (size_t)snprintf(text + len, size - len, "%s ", local);
        }
        if (table)
            fclose(table);
    }
}

static void only_this_machine_can_connect_by_default(void **state)
{
    int port = free_port();
    char number[16], text[1024], expected[2][128];
    server *s;

    (void)state;
    snprintf(number, sizeof number, "%d", port);
    s = begin("--port", number);
    listening(server_pid(s), text, sizeof text);
    snprintf(expected[0], sizeof *expected, "0100007F:%04X ", (unsigned)port);
    snprintf(expected[1], sizeof *expected, "0100007F:%04X 00000000000000000000000001000000:%04X ",
             (unsigned)port, (unsigned)port);
    if (strcmp(text, expected[0]) != 0 && strcmp(text, expected[1]) != 0)
        fail_msg("listens on %s", text);
    end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_loaded_whole_or_not_at_all),
        cmocka_unit_test(users_are_saved_where_only_the_owner_reads),
        cmocka_unit_test(the_configuration_keeps_users),
        cmocka_unit_test(wrong_configurations_are_refused_without_their_secrets),
        cmocka_unit_test(renamed_commands_answer_to_their_new_names),
        cmocka_unit_test(protected_commands_run_where_they_are_allowed),
        cmocka_unit_test(users_change_while_many_act_for_them),
        cmocka_unit_test(users_change_while_the_state_thread_acts_for_them),
        cmocka_unit_test(only_this_machine_can_connect_by_default),
        cmocka_unit_test(the_socket_file_has_its_mode_from_the_start),
    };

    kvserver_path();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
