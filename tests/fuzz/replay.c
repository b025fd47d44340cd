/* replay.c - runs a fuzz target over the files of a directory: the main of builds without libFuzzer.
 *
 * SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "fuzz.h"

enum { input_max = 1 << 20 };

static int replay(const char *path)
{
    static uint8_t data[input_max];
    FILE *in = fopen(path, "rb");
    size_t size;
    uint8_t *copy;

    if (!in) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return 1;
    }
    size = fread(data, 1, sizeof data, in);
    fclose(in);
    copy = malloc(size ? size : 1); /* of its exact size, so that a sanitizer sees where it ends */
    if (!copy)
        return 1;
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    return 0;
}

int main(int argc, char **argv)
{
    int files = 0, failures = 0;
    struct dirent *entry;
    DIR *directory;

    if (argc != 2 || !(directory = opendir(argv[1]))) {
        fprintf(stderr, "usage: %s corpus-directory\n", argv[0]);
        return 2;
    }
    while ((entry = readdir(directory))) {
        char path[PATH_MAX];

        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", argv[1], entry->d_name);
        failures += replay(path);
        files++;
    }
    closedir(directory);
    printf("%d inputs\n", files);
    return failures || !files;
}
