/* Writes to files, forcing each write to disk, without pause: what takes long shows how long the disks stood still.
 *
 *   stall SECONDS FILE...
 *
 * Prints each second a line "UPTIME TOOK", in seconds: when it is, and how long the longest write took since the line before; at the end "end UPTIME ROUNDS".
 * Built on the machine that runs the tests, and put into a guest by its agent.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    static char block[4096];
    int files[16], count = argc - 2;
    if (count < 1 || count > 16) return 2;
    for (int n = 0; n < count; n++)
        if ((files[n] = open(argv[n + 2], O_CREAT | O_WRONLY, 0600)) < 0) return 1;
    double end = now() + atof(argv[1]), second = now(), longest = 0;
    long rounds = 0;
    for (double began = now(), ended; began < end;) {
        memset(block, rounds, sizeof block);
        for (int n = 0; n < count; n++, began = ended) {
            if (pwrite(files[n], block, sizeof block, rounds % 256 * sizeof block) != sizeof block) return 1;
            if (fdatasync(files[n])) return 1;
            ended = now();
            if (ended - began > longest) longest = ended - began;
        }
        rounds++;
        if (began - second >= 1) {
            printf("%.3f %.3f\n", began, longest);
            fflush(stdout);
            second = began;
            longest = 0;
        }
    }
    printf("end %.3f %ld\n", now(), rounds);
    return 0;
}
