/* The wall clock of one process, run faster: `LD_PRELOAD`ed by the soak, so that days and weeks end within an hour.
 * FAST_CLOCK = "BASE_NS RATE": at the real time BASE_NS both clocks say the same, from then on this one runs RATE times
 * as fast. The monotonic clock, and with it every pause and timeout, stays as it is. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static int (*real_gettime)(clockid_t, struct timespec *);
static long long base_ns, rate;

__attribute__((constructor)) static void begin(void)
{
    const char *said = getenv("FAST_CLOCK");
    if (!said || sscanf(said, "%lld %lld", &base_ns, &rate) != 2)
        rate = 0;
    real_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
}

int clock_gettime(clockid_t id, struct timespec *out)
{
    if (!real_gettime)
        begin();
    int failed = real_gettime(id, out);
    if (failed || !rate || (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE))
        return failed;
    long long now = out->tv_sec * 1000000000LL + out->tv_nsec;
    now = base_ns + (now - base_ns) * rate;
    out->tv_sec = now / 1000000000LL;
    out->tv_nsec = now % 1000000000LL;
    return 0;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    (void)zone;
    struct timespec now;
    int failed = clock_gettime(CLOCK_REALTIME, &now);
    if (out && !failed) {
        out->tv_sec = now.tv_sec;
        out->tv_usec = now.tv_nsec / 1000;
    }
    return failed;
}

time_t time(time_t *out)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}
