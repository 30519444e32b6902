/* Appends the numbers 1, 2, 3, ... to journal.txt of /, then of each volume mounted under
 * /data in order, each forced to disk before the next volume gets the same number. So at
 * any moment
 *   last(/) >= last(vdb) >= last(vdc) >= ... >= last(/) - 1
 * for the volumes that were there all the time. A copy in which this does not hold took the
 * volumes at different moments. While frozen (/run/frozen, made by fsfreeze-hook) it writes
 * nothing, so a quiesced copy has the same last number on all of them.
 * A program, since a shell that forks for each line keeps half an emulated processor busy. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VOLUMES 32
#define LENGTH 64

static int by_name(const void *a, const void *b) { return strcmp(a, b); }

/* The directories under /data where volumes are mounted, in order. */
static int volumes(char found[VOLUMES][LENGTH])
{
    char line[512], path[LENGTH];
    int n = 0;
    FILE *mounts = fopen("/proc/mounts", "r");
    if (!mounts)
        return 0;
    while (n < VOLUMES && fgets(line, sizeof line, mounts))
        if (sscanf(line, "%*s %63s", path) == 1 && !strncmp(path, "/data/", 6))
            strcpy(found[n++], path);
    fclose(mounts);
    qsort(found, n, LENGTH, by_name);
    return n;
}

static void append(const char *directory, unsigned long number, double uptime)
{
    char path[LENGTH + 16], line[64];
    snprintf(path, sizeof path, "%s/journal.txt", directory);
    int length = snprintf(line, sizeof line, "%lu %.2f\n", number, uptime);
    int file = open(path, O_WRONLY | O_APPEND | O_CREAT, 0644);
    if (file < 0)
        return;
    if (write(file, line, length) == length)
        fsync(file);
    close(file);
}

static double uptime(void)
{
    double seconds = 0;
    FILE *file = fopen("/proc/uptime", "r");
    if (file && fscanf(file, "%lf", &seconds) != 1)
        seconds = 0;
    if (file)
        fclose(file);
    return seconds;
}

int main(void)
{
    char line[64], mounted[VOLUMES][LENGTH];
    unsigned long number = 0, read;
    FILE *journal = fopen("/journal.txt", "r");
    if (journal) {
        while (fgets(line, sizeof line, journal))
            if (sscanf(line, "%lu", &read) == 1)
                number = read;
        fclose(journal);
    }
    for (;;) {
        /* Said before it is looked at: the hook makes one and looks for the other. */
        close(open("/run/writing", O_WRONLY | O_CREAT, 0644));
        if (!access("/run/frozen", F_OK)) {
            unlink("/run/writing");
            usleep(50000);
            continue;
        }
        number++;
        int n = volumes(mounted);
        append("", number, uptime());
        for (int i = 0; i < n; i++)
            append(mounted[i], number, uptime());
        unlink("/run/writing");
        usleep(100000);
    }
}
