/* libfaketime 0.9.10 turns an absolute sleep on a monotonic clock into nonsense when it is told to leave that clock
 * alone (EINVAL; Python's time.sleep is one). Loaded before it, this is the plain system call. */
#include <errno.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *left)
{
    return syscall(SYS_clock_nanosleep, clock, flags, until, left) ? errno : 0;
}
