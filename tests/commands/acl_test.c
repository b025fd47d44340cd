/* acl_test.c - conversations about users and what they may do.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "session.h"

#define SYNTAX    ": Syntax error"
#define UNKNOWN   ": Unknown command or category name in ACL"
#define WRONGPASS "-WRONGPASS invalid username-password pair or user is disabled."
#define MODIFIER  "-ERR Error in ACL SETUSER modifier "

/* Users outlive a conversation. */
static void forget(session *s)
{
    said(s, "ACL", "DELUSER", "alice", "bob");
    said(s, "ACL", "LOG", "RESET");
}

/* ---- rules ---- */

static void a_new_user_may_do_nothing(void **state)
{
    session *s = *state;

    forget(s);
    expect(s, "+OK", "ACL", "SETUSER", "alice");
    expect(s, "*2 $\"user alice off resetchannels -@all\" $\"user default on nopass ~* &* +@all\"", "ACL",
           "LIST");
    expect(s, "*12 $flags *1 $off $passwords *0 $commands $-@all $keys $\"\" $channels $\"\" $selectors *0",
           "ACL", "GETUSER", "alice");
    expect(s, "*2 $alice $default", "ACL", "USERS");
    expect(s, ":1", "ACL", "DELUSER", "alice", "nobody");
    expect(s, "*1 $\"user default on nopass ~* &* +@all\"", "ACL", "LIST");
    expect(s, "_", "ACL", "GETUSER", "alice");
    expect(s, "$default", "ACL", "WHOAMI");
}

static void rules_are_shown_as_they_add_up(void **state)
{
    session *s = *state;

    forget(s);
    expect(s, "+OK", "ACL", "SETUSER", "alice", "on", ">p", "%R~foo", "%W~foo", "%rW~bar", "~z", "%R~ro",
           "&chan", "+get");
    expect(s,
           "*2 $\"user alice on #148de9c5a7a44d19e56cd9ae1a554bf67847afb0c58f6e12fa29ac7ddfca9940 ~foo ~bar "
           "~z %R~ro resetchannels &chan -@all +get\" $\"user default on nopass ~* &* +@all\"",
           "ACL", "LIST");
    expect(
        s,
        "*12 $flags *1 $on $passwords *1 $148de9c5a7a44d19e56cd9ae1a554bf67847afb0c58f6e12fa29ac7ddfca9940 "
        "$commands $\"-@all +get\" $keys $\"~foo ~bar ~z %R~ro\" $channels $&chan $selectors *0",
        "ACL", "GETUSER", "alice");
    expect(s, "+OK", "ACL", "SETUSER", "alice", "~*", "allchannels", "nopass", "allcommands");
    expect(s, "*2 $\"user alice on nopass ~* &* +@all\" $\"user default on nopass ~* &* +@all\"", "ACL",
           "LIST");
    expect(s, "+OK", "ACL", "SETUSER", "alice", "reset");
    expect(
        s,
        "*2 $\"user alice off sanitize-payload resetchannels -@all\" $\"user default on nopass ~* &* +@all\"",
        "ACL", "LIST");
    expect(s, "+OK", "ACL", "SETUSER", "alice", "skip-sanitize-payload", "+@all", "-config", "+config|get");
    expect(s,
           "*2 $\"user alice off skip-sanitize-payload resetchannels +@all -config +config|get\" $\"user "
           "default on nopass ~* &* +@all\"",
           "ACL", "LIST");
    expect(s, "+OK", "ACL", "SETUSER", "alice", "-@all", "+GET|X", "+get|x", "+get|y");
    expect(s,
           "*2 $\"user alice off skip-sanitize-payload resetchannels -@all +get|X +get|y\" $\"user default "
           "on nopass ~* &* +@all\"",
           "ACL", "LIST");
    expect(s, "+OK", "ACL", "SETUSER", "alice", "+@string", "");
    expect(s,
           "*2 $\"user alice off skip-sanitize-payload resetchannels -@all +@string\" $\"user default on "
           "nopass ~* &* +@all\"",
           "ACL", "LIST");
    forget(s);
}

static void selectors_stand_in_parentheses(void **state)
{
    session *s = *state;

    forget(s);
    expect(s, "+OK", "ACL", "SETUSER", "alice", "on", "(+get ~x)", "(", "+set)", "()");
    expect(s,
           "*2 $\"user alice on resetchannels -@all (~x resetchannels -@all +get) (resetchannels -@all +set) "
           "(resetchannels -@all)\" $\"user default on nopass ~* &* +@all\"",
           "ACL", "LIST");
    expect(s,
           "*12 $flags *1 $on $passwords *0 $commands $-@all $keys $\"\" $channels $\"\" $selectors *3 *6 "
           "$commands "
           "$\"-@all +get\" $keys $~x $channels $\"\" *6 $commands $\"-@all +set\" $keys $\"\" $channels "
           "$\"\" *6 "
           "$commands $-@all $keys $\"\" $channels $\"\"",
           "ACL", "GETUSER", "alice");
    expect(s, "-ERR Unmatched parenthesis in acl selector starting at '(+get'.", "ACL", "SETUSER", "alice",
           "on", "(+get", "~x");
    expect(s, MODIFIER "'(on)'" SYNTAX, "ACL", "SETUSER", "alice", "(on)");
    expect(s, MODIFIER "'((+get))'" SYNTAX, "ACL", "SETUSER", "alice", "((+get))");
    expect(s, MODIFIER "'+get)'" UNKNOWN, "ACL", "SETUSER", "alice", "+get)");
    expect(s, "+OK", "ACL", "SETUSER", "alice", "clearselectors");
    expect(s, "*2 $\"user alice on resetchannels -@all\" $\"user default on nopass ~* &* +@all\"", "ACL",
           "LIST");
    forget(s);
}

static void wrong_rules_are_refused_and_change_nothing(void **state)
{
    static const char *const wrong[][2] = {
        { "+foo", UNKNOWN },
        { "-foo", UNKNOWN },
        { "+client|foo", UNKNOWN },
        { "-client|foo", UNKNOWN },
        { "-select|0", UNKNOWN },
        { "+@foo", UNKNOWN },
        { "+@", UNKNOWN },
        { "+", UNKNOWN },
        { "+client|", SYNTAX },
        { "+client|id|x", ": Allowing first-arg of a subcommand is not supported" },
        { "<none", ": The password you are trying to remove from the user does not exist" },
        { "#abc", ": The password hash must be exactly 64 characters and contain only lowercase hexadecimal "
                  "characters" },
        { "!abc", ": The password hash must be exactly 64 characters and contain only lowercase hexadecimal "
                  "characters" },
        { "%RR~x", SYNTAX },
        { "%~x", SYNTAX },
        { "~a b", SYNTAX },
        { "&a b", SYNTAX },
        { "blah", SYNTAX },
        { "(bad)", SYNTAX },
    };
    session *s = *state;
    char expected[300];

    forget(s);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        snprintf(expected, sizeof expected, MODIFIER "'%s'%s", wrong[i][0], wrong[i][1]);
        expect(s, expected, "ACL", "SETUSER", "alice", "on", "+get", wrong[i][0]);
    }
    expect(s,
           MODIFIER "'~x': Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and "
                    "does not have any "
                    "effect. Try 'resetkeys' to start with an empty list of patterns",
           "ACL", "SETUSER", "alice", "allkeys", "~x");
    expect(s,
           MODIFIER "'&x': Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and "
                    "does not have "
                    "any effect. Try 'resetchannels' to start with an empty list of channels",
           "ACL", "SETUSER", "alice", "&*", "&x");
    expect(s, "*1 $default", "ACL", "USERS");
    expect(s, "-ERR Usernames can't contain spaces or null characters", "ACL", "SETUSER", "a b");
    expect(s, "-ERR The 'default' user cannot be removed", "ACL", "DELUSER", "alice", "default");
    forget(s);
}

static void wrong_calls_are_refused(void **state)
{
    session *s = *state;

    expect(s, "-ERR Unknown category 'foo'", "ACL", "CAT", "foo");
    expect(s, "-ERR unknown subcommand or wrong number of arguments for 'cat'. Try ACL HELP.", "ACL", "cat",
           "a", "b");
    expect(s, "-ERR unknown subcommand 'foo'. Try ACL HELP.", "ACL", "foo");
    expect(s, "-ERR wrong number of arguments for 'acl|setuser' command", "ACL", "SETUSER");
    expect(s,
           "-ERR ACL GENPASS argument must be the number of bits for the output password, a positive number "
           "up to 4096",
           "ACL", "GENPASS", "4097");
    expect(s, "-ERR value is not an integer or out of range", "ACL", "GENPASS", "x");
    expect_like(s, "$[0-9a-f][0-9a-f]", "ACL", "GENPASS", "5");
    expect(s,
           "-ERR This Redis instance is not configured to use an ACL file. You may want to specify users via "
           "the ACL SETUSER "
           "command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in "
           "order to store "
           "users in the Redis configuration.",
           "ACL", "LOAD");
    expect(s, "-ERR This Redis instance is not configured to use an ACL file....", "ACL", "SAVE");
}

static void categories_are_those_of_redis(void **state)
{
    session *s = *state;

    expect(s,
           "*21 $keyspace $read $write $set $sortedset $list $hash $string $bitmap $hyperloglog $geo $stream "
           "$pubsub $admin $fast $slow $blocking $dangerous $connection $transaction $scripting",
           "ACL", "CAT");
    expect_sorted(s, "*5 $discard $exec $multi $unwatch $watch", "ACL", "CAT", "transaction");
}

/* ---- what a user may do ---- */

static void a_user_does_only_what_he_may(void **state)
{
    session *s = *state, *other = another_client(s);

    forget(s);
    expect(s, "+OK", "ACL", "SETUSER", "alice", "on", ">pw", "+get", "+set", "+mset", "+exists", "+client",
           "+publish", "+subscribe", "+psubscribe", "~k*", "%R~ro*", "%W~wo*", "&ch*");
    expect(other, "+OK", "AUTH", "alice", "pw");
    expect(other, "-NOPERM this user has no permissions to run the 'acl|whoami' command", "ACL", "WHOAMI");
    expect(other, "-NOPERM this user has no permissions to run the 'del' command", "DEL", "k1");
    expect(other, "+OK", "SET", "k1", "v");
    expect(other, "$v", "GET", "k1");
    expect(other, "-NOPERM this user has no permissions to access one of the keys used as arguments", "GET",
           "x");
    expect(other, "_", "GET", "ro1");
    expect(other, "-NOPERM this user has no permissions to access one of the keys used as arguments", "SET",
           "ro1", "v");
    expect(other, "+OK", "SET", "wo1", "v");
    expect(other, "-NOPERM this user has no permissions to access one of the keys used as arguments", "SET",
           "wo1", "v", "GET");
    expect(other, "-NOPERM this user has no permissions to access one of the keys used as arguments", "GET",
           "wo1");
    expect(other, ":1", "EXISTS", "wo1");
    expect(other, "-NOPERM this user has no permissions to access one of the keys used as arguments", "MSET",
           "k1", "v", "ro1", "v");
    expect(other, ":0", "PUBLISH", "ch1", "x");
    expect(other, "-NOPERM this user has no permissions to access one of the channels used as arguments",
           "PUBLISH", "x", "x");
    expect(other, "-NOPERM this user has no permissions to access one of the channels used as arguments",
           "SUBSCRIBE", "ch1", "x");
    expect(other, "-NOPERM this user has no permissions to access one of the channels used as arguments",
           "PSUBSCRIBE", "ch1*");
    expect(other, "*3 $psubscribe $ch* :1", "PSUBSCRIBE", "ch*");
    forget(s);
}

static void what_runs_alike_is_checked_each(void **state)
{
    session *s = *state, *other = another_client(s);

    forget(s);
    expect(s, "+OK", "ACL", "SETUSER", "alice", "on", "nopass", "+get", "~a");
    expect(s, "+OK", "SET", "a", "1");
    expect(s, "+OK", "SET", "b", "2");
    send_raw(other,
             "AUTH alice "
             "x\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n*2\r\n$3\r\nGET\r\n$1\r\nb\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n"
             "*2\r\n$3\r\nDEL\r\n$1\r\na\r\n");
    expect_next(other, "+OK");
    expect_next(other, "$1");
    expect_next(other, "-NOPERM this user has no permissions to access one of the keys used as arguments");
    expect_next(other, "$1");
    expect_next(other, "-NOPERM this user has no permissions to run the 'del' command");
    forget(s);
}

static void a_selector_must_allow_all_of_it(void **state)
{
    session *s = *state, *other = another_client(s);

    forget(s);
    expect(s, "+OK", "ACL", "SETUSER", "alice", "on", "nopass", "+get", "~a", "(+set ~b)",
           "(%R~c +copy %W~d)");
    expect(other, "+OK", "AUTH", "alice", "x");
    expect(other, "_", "GET", "a");
    expect(other, "+OK", "SET", "b", "x");
    expect(other, "-NOPERM this user has no permissions to access one of the keys used as arguments", "SET",
           "a", "x");
    expect(other, "-NOPERM this user has no permissions to access one of the keys used as arguments", "GET",
           "b");
    expect(other, ":0", "COPY", "c", "d");
    expect(other, "-NOPERM this user has no permissions to access one of the keys used as arguments", "COPY",
           "d", "c");
    forget(s);
}

static void the_first_argument_may_be_all_that_is_allowed(void **state)
{
    session *s = *state, *other = another_client(s);

    forget(s);
    expect(s, "+OK", "ACL", "SETUSER", "alice", "on", "nopass", "+select|3");
    expect(other, "+OK", "AUTH", "alice", "x");
    expect(other, "+OK", "SELECT", "3");
    expect(other, "-NOPERM this user has no permissions to run the 'select' command", "SELECT", "2");
    forget(s);
}

static void a_dry_run_tells_without_running(void **state)
{
    session *s = *state;

    forget(s);
    expect(s, "+OK", "ACL", "SETUSER", "alice", "+get", "+client", "+subscribe", "+psubscribe", "%R~k*",
           "&ch*");
    expect(s, "-ERR User 'nobody' not found", "ACL", "DRYRUN", "nobody", "get", "x");
    expect(s, "-ERR Command 'nope' not found", "ACL", "DRYRUN", "alice", "nope");
    expect(s, "-ERR Command 'client' not found", "ACL", "DRYRUN", "alice", "client", "nope");
    expect(s, "-ERR wrong number of arguments for 'get' command", "ACL", "DRYRUN", "alice", "get");
    expect(s, "-ERR wrong number of arguments for 'client|id' command", "ACL", "DRYRUN", "alice", "client",
           "id", "1");
    expect(s, "+OK", "ACL", "DRYRUN", "alice", "client", "id");
    expect(s, "+OK", "ACL", "DRYRUN", "alice", "get", "k");
    expect(s, "$This user has no permissions to access the 'x' key", "ACL", "DRYRUN", "alice", "get", "x");
    expect(s, "$This user has no permissions to run the 'set' command", "ACL", "DRYRUN", "alice", "set", "k",
           "v");
    expect(s, "$This user has no permissions to run the 'config|get' command", "ACL", "DRYRUN", "alice",
           "config", "get", "x");
    expect(s, "+OK", "ACL", "DRYRUN", "alice", "subscribe", "ch1");
    expect(s, "$This user has no permissions to access the 'x' channel", "ACL", "DRYRUN", "alice",
           "subscribe", "ch1", "x");
    expect(s, "$This user has no permissions to access the 'cha*' channel", "ACL", "DRYRUN", "alice",
           "psubscribe", "cha*");
    expect(s, "+OK", "ACL", "DRYRUN", "alice", "auth", "x");
    forget(s);
}

static void conditions_of_exec_are_keys(void **state)
{
    session *s = *state;

    not_in_redis(s, "its EXEC takes no conditions");
    forget(s);
    expect(s, "+OK", "ACL", "SETUSER", "alice", "+exec", "%R~a", "%W~b");
    expect(s, "+OK", "ACL", "DRYRUN", "alice", "exec");
    expect(s, "+OK", "ACL", "DRYRUN", "alice", "exec", "IFEQ", "a", "1", "NX", "a");
    expect(s, "$This user has no permissions to access the 'b' key", "ACL", "DRYRUN", "alice", "exec", "IFEQ",
           "a", "1", "NX", "b");
    expect(s, "$This user has no permissions to access the 'what' key", "ACL", "DRYRUN", "alice", "exec",
           "what", "a");
    forget(s);
}

static void keys_that_cannot_be_told_are_denied(void **state)
{
    session *s = *state;

    not_in_redis(s, "it has no MSETEX");
    forget(s);
    expect(s, "+OK", "ACL", "SETUSER", "alice", "+msetex", "~a");
    expect(s, "+OK", "ACL", "DRYRUN", "alice", "msetex", "1", "a", "v");
    expect(s, "$This user has no permissions to access the 'b' key", "ACL", "DRYRUN", "alice", "msetex", "2",
           "a", "v", "b", "v");
    expect(s, "$This user has no permissions to access the 'msetex' key", "ACL", "DRYRUN", "alice", "msetex",
           "9", "a", "v");
    expect(s, "$This user has no permissions to access the 'msetex' key", "ACL", "DRYRUN", "alice", "msetex",
           "x", "b", "v");
    forget(s);
}

/* ---- changes, seen by those who are connected ---- */

static void a_change_is_seen_by_who_is_connected(void **state)
{
    session *s = *state, *other = another_client(s);

    forget(s);
    expect(s, "+OK", "ACL", "SETUSER", "alice", "on", "nopass", "+get", "~*");
    expect(other, "+OK", "AUTH", "alice", "x");
    expect(other, "_", "GET", "k");
    expect(s, "+OK", "ACL", "SETUSER", "alice", "-get", "+set");
    expect(other, "-NOPERM this user has no permissions to run the 'get' command", "GET", "k");
    expect(other, "+OK", "SET", "k", "v");
    expect(s, "+OK", "ACL", "SETUSER", "alice", "off", "resetpass");
    expect(other, "+OK", "SET", "k", "w"); /* who is in stays in */
    expect(s, ":1", "ACL", "DELUSER", "alice");
    expect_closed(other);
    forget(s);
}

static void a_listener_who_lost_his_channel_is_closed(void **state)
{
    session *s = *state, *other = another_client(s), *third = another_client(s);

    forget(s);
    expect(s, "+OK", "ACL", "SETUSER", "alice", "on", "nopass", "+@all", "&a*", "&b");
    expect(other, "+OK", "AUTH", "alice", "x");
    expect(third, "+OK", "AUTH", "alice", "x");
    expect(other, "*3 $subscribe $a1 :1", "SUBSCRIBE", "a1");
    expect(third, "*3 $psubscribe $b :1", "PSUBSCRIBE", "b");
    expect(s, "+OK", "ACL", "SETUSER", "alice", "&c");
    expect(s, ":1", "PUBLISH", "a1", "still");
    expect_next(other, "*3 $message $a1 $still");
    expect(s, "+OK", "ACL", "SETUSER", "alice", "resetchannels", "&b", "&a2");
    expect_closed(other);
    expect(s, ":1", "PUBLISH", "b", "still");
    expect_next(third, "*4 $pmessage $b $b $still");
    expect(s, ":1", "ACL", "DELUSER", "alice");
    expect_closed(third);
    forget(s);
}

static void a_transaction_is_checked_twice(void **state)
{
    session *s = *state, *other = another_client(s);

    forget(s);
    expect(s, "+OK", "ACL", "SETUSER", "alice", "on", "nopass", "+get", "+set", "+multi", "+exec", "+publish",
           "~*", "&*");
    expect(other, "+OK", "AUTH", "alice", "x");
    expect(other, "+OK", "MULTI");
    expect(other, "-NOPERM this user has no permissions to run the 'del' command", "DEL", "k");
    expect(other, "-EXECABORT Transaction discarded because of previous errors.", "EXEC");
    expect(other, "+OK", "MULTI");
    expect(other, "+QUEUED", "GET", "k");
    expect(other, "+QUEUED", "SET", "k", "v");
    expect(other, "+QUEUED", "SET", "x", "v");
    expect(other, "+QUEUED", "PUBLISH", "ch", "v");
    expect(s, "+OK", "ACL", "SETUSER", "alice", "-get", "resetkeys", "~k", "resetchannels");
    expect(other,
           "*4 -\"NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC "
           "call. This command is no longer allowed for the following reason: no permission to execute the "
           "command or subcommand\" +OK -\"NOPERM ACLs rules changed between the moment the transaction was "
           "accumulated and the EXEC call. This command is no longer allowed for the following reason: no "
           "permission to touch the specified keys\" -\"NOPERM ACLs rules changed between the moment the "
           "transaction was accumulated and the EXEC call. This command is no longer allowed for the "
           "following reason: no permission to access one of the channels used as arguments\"",
           "EXEC");
    for (int i = 0; i < 3; i++) { /* in an order that depends on where the commands ran */
        static const char *const told[] = {
            "[*]4 *$reason $command $context $multi $object $get $username $alice *",
            "[*]4 *$reason $key $context $multi $object $x $username $alice *",
            "[*]4 *$reason $channel $context $multi $object $ch $username $alice *",
        };

        expect_like(s, told[i], "ACL", "LOG");
    }
    expect(other, "+OK", "MULTI");
    expect(other, "+QUEUED", "SET", "k", "v");
    expect(s, "+OK", "ACL", "SETUSER", "alice", "-exec");
    expect(other,
           "-EXECABORT Transaction discarded because of: NOPERM this user has no permissions to run the "
           "'exec' command",
           "EXEC");
    forget(s);
}

static void users_change_inside_a_transaction(void **state)
{
    session *s = *state;

    forget(s);
    expect(s, "+OK", "MULTI");
    expect(s, "+QUEUED", "ACL", "SETUSER", "alice", "on", "+get");
    expect(s, "+QUEUED", "SET", "k", "v");
    expect(s, "+QUEUED", "ACL", "DELUSER", "alice", "bob");
    expect(s, "*3 +OK +OK :1", "EXEC");
    forget(s);
}

/* ---- passwords ---- */

static void passwords_are_added_and_removed(void **state)
{
    session *s = *state, *other = another_client(s);

    forget(s);
    expect(s, "+OK", "ACL", "SETUSER", "alice", "on", ">a", ">b", "+acl|whoami");
    expect(other, WRONGPASS, "AUTH", "alice", "c");
    expect(other, WRONGPASS, "AUTH", "nobody", "a");
    expect(other, "+OK", "AUTH", "alice", "a");
    expect(other, "$alice", "ACL", "WHOAMI");
    expect(other, "+OK", "AUTH", "alice", "b");
    expect(s, "+OK", "ACL", "SETUSER", "alice", "<a",
           "!3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d");
    expect(other, WRONGPASS, "AUTH", "alice", "b");
    expect(s, "+OK", "ACL", "SETUSER", "alice",
           "#3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d");
    expect(other, "+OK", "AUTH", "alice", "b");
    expect(s, "+OK", "ACL", "SETUSER", "alice", "off");
    expect(other, WRONGPASS, "AUTH", "alice", "b");
    expect(s, "+OK", "ACL", "SETUSER", "alice", "on", "nopass");
    expect(other, "+OK", "AUTH", "alice", "whatever");
    expect(s, "+OK", "ACL", "SETUSER", "alice", "resetpass");
    expect(other, WRONGPASS, "AUTH", "alice", "whatever");
    expect(other, "+RESET", "RESET");
    expect(other, "$default", "ACL", "WHOAMI");
    forget(s);
}

static void requirepass_is_the_password_of_default(void **state)
{
    session *s = *state, *other;

    forget(s);
    expect(s, "+OK", "CONFIG", "SET", "requirepass", "foo");
    expect(s,
           "*1 $\"user default on #2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae ~* &* "
           "+@all\"",
           "ACL", "LIST");
    other = another_client(s);
    expect(other, "-NOAUTH Authentication required.", "PING");
    expect(other, "-EXECABORT Transaction discarded because of: NOAUTH Authentication required.", "EXEC");
    expect(other, WRONGPASS, "AUTH", "bar");
    expect(other, "+OK", "AUTH", "default", "foo");
    expect(other, "+RESET", "RESET");
    expect(other, "-NOAUTH Authentication required.", "PING");
    expect(s, "+OK", "ACL", "SETUSER", "default", "nopass");
    expect(other, "+PONG", "PING");
    expect(s, "*2 $requirepass $foo", "CONFIG", "GET", "requirepass");
    expect(s, "+OK", "CONFIG", "SET", "requirepass", "");
    expect(s, "*1 $\"user default on nopass ~* &* +@all\"", "ACL", "LIST");
}

static void default_may_be_limited_and_off(void **state)
{
    session *s = *state, *other;

    forget(s);
    expect(s, "+OK", "ACL", "SETUSER", "alice", "on", "nopass", "allkeys", "allcommands", "allchannels");
    expect(s, "+OK", "AUTH", "alice", "x");
    expect(s, "+OK", "ACL", "SETUSER", "default", "off", "-set");
    other = another_client(s);
    expect(other, "-NOAUTH Authentication required.", "GET", "k");
    expect(other, WRONGPASS, "AUTH", "default", "x");
    expect(s, "+OK", "ACL", "SETUSER", "default", "on");
    expect(other, "_", "GET", "k");
    expect(other, "-NOPERM this user has no permissions to run the 'set' command", "SET", "k", "v");
    expect(s, "+OK", "ACL", "SETUSER", "default", "+@all");
    expect(other, "+OK", "SET", "k", "v");
    expect(s, "+RESET", "RESET");
    expect(s, "$default", "ACL", "WHOAMI");
    forget(s);
}

/* ---- the log ---- */

static void denials_are_logged(void **state)
{
    session *s = *state, *other = another_client(s);

    forget(s);
    expect(s, "*0", "ACL", "LOG");
    expect(s, "+OK", "ACL", "SETUSER", "alice", "on", ">pw", "+get", "+publish", "+multi", "~a", "&a");
    expect(other, WRONGPASS, "AUTH", "alice", "nope");
    expect(other, "+OK", "AUTH", "alice", "pw");
    expect(other, "-NOPERM...", "SET", "a", "b");
    expect(other, "-NOPERM...", "SET", "a", "b");
    expect(other, "-NOPERM...", "GET", "bb");
    expect(other, "-NOPERM...", "PUBLISH", "ch", "x");
    expect(other, "+OK", "MULTI");
    expect(other, "-NOPERM...", "GET", "bb");
    expect_like(
        s, "[*]1 [*]* $count :1 $reason $key $context $multi $object $bb $username $alice $age-seconds $*",
        "ACL", "LOG", "1");
    expect_like(
        s,
        "[*]5 [*]* $count :1 $reason $key $context $multi $object $bb *$count :1 $reason $channel $context "
        "$toplevel $object $ch $username $alice $age-seconds $*$count :1 $reason $key $context $toplevel "
        "$object $bb *$count :2 $reason $command $context $toplevel $object $set $username $alice *$count :1 "
        "$reason $auth $context $toplevel $object $AUTH $username $alice *user=default*",
        "ACL", "LOG");
    expect(s, "*0", "ACL", "LOG", "0");
    expect(s, "*0", "ACL", "LOG", "-1");
    expect(s, "-ERR value is not an integer or out of range", "ACL", "LOG", "x");
    expect(s, "+OK", "CONFIG", "SET", "acllog-max-len", "1");
    expect(other, "-NOPERM...", "DEL", "bb");
    expect_like(s, "[*]1 *$object $del *", "ACL", "LOG");
    expect(s, "+OK", "CONFIG", "SET", "acllog-max-len", "128");
    expect(s, "+OK", "ACL", "LOG", "RESET");
    expect(s, "*0", "ACL", "LOG");
    forget(s);
}

static void clients_are_told_with_their_users(void **state)
{
    session *s = *state, *other = another_client(s);

    forget(s);
    expect(s, "+OK", "ACL", "SETUSER", "alice", "on", "nopass", "+client", "+ping");
    expect(other, "+OK", "AUTH", "alice", "x");
    expect_like(other, "$*user=alice*", "CLIENT", "INFO");
    expect_like(s, "$*user=alice*", "CLIENT", "LIST");
    expect(s, "-ERR No such user 'bob'", "CLIENT", "KILL", "USER", "bob");
    expect(s, ":1", "CLIENT", "KILL", "USER", "alice");
    expect_closed(other);
    forget(s);
}

static void new_users_have_the_channels_of_the_configuration(void **state)
{
    session *s = *state;

    forget(s);
    expect(s, "+OK", "CONFIG", "SET", "acl-pubsub-default", "allchannels");
    expect(s, "+OK", "ACL", "SETUSER", "alice", "(+get)");
    expect(s, "*2 $\"user alice off &* -@all (&* -@all +get)\" $\"user default on nopass ~* &* +@all\"",
           "ACL", "LIST");
    expect(s, "+OK", "ACL", "SETUSER", "alice", "resetchannels");
    expect(s, "+OK", "ACL", "SETUSER", "alice", "reset");
    expect(s, "+OK", "CONFIG", "SET", "acl-pubsub-default", "resetchannels");
    expect(s, "*2 $\"user alice off sanitize-payload &* -@all\" $\"user default on nopass ~* &* +@all\"",
           "ACL", "LIST");
    forget(s);
}

static void users_and_rules_have_limits(void **state)
{
    session *s = *state;

    not_in_redis(s, "it has no such limits");
    forget(s);
    expect(s, "+OK", "CONFIG", "SET", "acl-max-users", "2", "acl-max-rules", "3");
    expect(s, "+OK", "ACL", "SETUSER", "alice", "~a", "~b");
    expect(s, "-ERR There are as many users as acl-max-users allows", "ACL", "SETUSER", "bob");
    expect(s, "-ERR The user would have more rules than acl-max-rules allows", "ACL", "SETUSER", "alice",
           "&c");
    expect(s, "*2 $\"user alice off ~a ~b resetchannels -@all\" $\"user default on nopass ~* &* +@all\"",
           "ACL", "LIST");
    expect(s, MODIFIER "'~d': The user would have more rules than acl-max-rules allows", "ACL", "SETUSER",
           "alice", "~c", "~d");
    expect(s, "+OK", "CONFIG", "SET", "acl-max-users", "10000", "acl-max-rules", "10000");
    forget(s);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        conversation(a_new_user_may_do_nothing),
        conversation(rules_are_shown_as_they_add_up),
        conversation(selectors_stand_in_parentheses),
        conversation(wrong_rules_are_refused_and_change_nothing),
        conversation(wrong_calls_are_refused),
        conversation(categories_are_those_of_redis),
        conversation(a_user_does_only_what_he_may),
        conversation(what_runs_alike_is_checked_each),
        conversation(a_selector_must_allow_all_of_it),
        conversation(the_first_argument_may_be_all_that_is_allowed),
        conversation(a_dry_run_tells_without_running),
        conversation(conditions_of_exec_are_keys),
        conversation(keys_that_cannot_be_told_are_denied),
        conversation(a_change_is_seen_by_who_is_connected),
        conversation(a_listener_who_lost_his_channel_is_closed),
        conversation(a_transaction_is_checked_twice),
        conversation(users_change_inside_a_transaction),
        conversation(passwords_are_added_and_removed),
        conversation(requirepass_is_the_password_of_default),
        conversation(default_may_be_limited_and_off),
        conversation(denials_are_logged),
        conversation(clients_are_told_with_their_users),
        conversation(new_users_have_the_channels_of_the_configuration),
        conversation(users_and_rules_have_limits),
    };

    return run_conversations(argc, argv, tests);
}
