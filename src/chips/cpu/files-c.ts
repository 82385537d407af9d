// The C text of files as memory: mapping them, and a thread that has their bytes ready while the caller does something else. Part of
// the chip's C runtime (`pool.ts`).

/** The most that is asked for at once: meanwhile the process gets no other memory from the system. */
const PART = 8 << 20;

export const FILES_C = `
#include <fcntl.h>
#include <sys/stat.h>

struct range {
  char *at;
  int64_t bytes;
  struct range *next;
};

/* Ranges of mapped files that shall be ready, in the order in which they were asked for. */
struct fetcher {
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  struct range *first, *last;
  char *busy; /* what the thread works on; 0: nothing */
  int running;
};

int vexil_file(const char *path, double *about) {
  struct stat file;
  const int fd = open(path, O_RDONLY);
  if (fd < 0) return 0;
  const int known = !fstat(fd, &file);
  close(fd);
  if (!known) return 0;
#ifdef __APPLE__
  const struct timespec changed = file.st_mtimespec;
#else
  const struct timespec changed = file.st_mtim;
#endif
  about[0] = file.st_size;
  about[1] = file.st_ino;
  about[2] = file.st_dev;
  about[3] = changed.tv_sec + changed.tv_nsec * 1e-9;
  return 1;
}

/* A whole file as memory whose writes stay here. Advised so, the system reads it into large pages, if it has room and the file
   system can, and shows those here as they are; for that the memory begins at a multiple of one. Pages that are in the system's
   cache already stay as they are. */
void *vexil_map(const char *path, int64_t bytes) {
  const int64_t room = bytes + LARGE_PAGE;
  const int fd = open(path, O_RDONLY);
  if (fd < 0) return 0;
  char *hold = mmap(0, room, PROT_NONE, MAP_PRIVATE | MAP_ANON | MAP_NORESERVE, -1, 0), *at = MAP_FAILED;
  if (hold != MAP_FAILED) {
    char *begin = (char *)(((uintptr_t)hold + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE);
    const int64_t page = sysconf(_SC_PAGESIZE), used = (bytes + page - 1) / page * page;
    at = mmap(begin, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0);
    if (at == MAP_FAILED) munmap(hold, room);
    else {
      if (begin > hold) munmap(hold, begin - hold);
      if (begin + used < hold + room) munmap(begin + used, hold + room - begin - used);
#ifdef MADV_HUGEPAGE
      madvise(at, bytes, MADV_HUGEPAGE);
#endif
    }
  }
  close(fd);
  return at == MAP_FAILED ? 0 : at;
}

struct fetcher *vexil_fetcher(void) {
  struct fetcher *f = calloc(1, sizeof *f);
  if (!f) return 0;
  pthread_mutex_init(&f->mutex, 0);
  pthread_cond_init(&f->changed, 0);
  return f;
}

/* Pages are asked for at once, which costs a tenth of faulting them in one by one, and as pages to read: asked for as pages to
   write they would be copied. Then each is read from: in a virtual machine the host may have a table of its own that is filled
   only so, and that takes longer than the rest. */
static void make_ready(char *at, int64_t bytes, int64_t page) {
#ifdef __linux__
  if (madvise(at, bytes, 22 /* MADV_POPULATE_READ, since 5.14 */) && errno != EINVAL) return;
#endif
  for (int64_t i = 0; i < bytes; i += page) *(volatile char *)(at + i);
}

/* Works off what was asked for, and ends. */
static void *fetch_main(void *arg) {
  struct fetcher *f = arg;
  const int64_t page = sysconf(_SC_PAGESIZE);
  pthread_mutex_lock(&f->mutex);
  for (struct range *r; (r = f->first);) {
    char *at = r->at;
    const int64_t bytes = r->bytes < ${PART} ? r->bytes : ${PART};
    r->at += bytes;
    r->bytes -= bytes;
    if (!r->bytes) {
      f->first = r->next;
      free(r);
    }
    f->busy = at;
    pthread_mutex_unlock(&f->mutex);
    make_ready(at, bytes, page);
    pthread_mutex_lock(&f->mutex);
    f->busy = 0;
    pthread_cond_broadcast(&f->changed);
  }
  f->running = 0;
  pthread_cond_broadcast(&f->changed);
  pthread_mutex_unlock(&f->mutex);
  return 0;
}

/* Has bytes of a mapped file ready some time soon. Without memory or rights for a thread they come when they are read. */
void vexil_fetch(struct fetcher *f, char *at, int64_t bytes) {
  const int64_t page = sysconf(_SC_PAGESIZE), before = (uintptr_t)at % page;
  struct range *r = bytes > 0 ? malloc(sizeof *r) : 0;
  if (!r) return;
  *r = (struct range){at - before, bytes + before, 0};
  pthread_mutex_lock(&f->mutex);
  if (f->first) f->last->next = r;
  else f->first = r;
  f->last = r;
  if (!f->running) {
    pthread_t id;
    f->running = !start_thread(&id, fetch_main, f);
    if (f->running) pthread_detach(id);
    else {
      f->first = 0;
      free(r);
    }
  }
  pthread_mutex_unlock(&f->mutex);
}

/* Ends a mapping; what of it was asked for is forgotten. */
void vexil_unmap(struct fetcher *f, char *at, int64_t bytes) {
  pthread_mutex_lock(&f->mutex);
  struct range *left = 0;
  for (struct range **link = &f->first; *link;) {
    struct range *r = *link;
    if (r->at >= at && r->at < at + bytes) {
      *link = r->next;
      free(r);
    } else {
      left = r;
      link = &r->next;
    }
  }
  f->last = left;
  while (f->busy >= at && f->busy < at + bytes) pthread_cond_wait(&f->changed, &f->mutex);
  pthread_mutex_unlock(&f->mutex);
  munmap(at, bytes);
}

/* No mapping is left. */
void vexil_end_fetcher(struct fetcher *f) {
  pthread_mutex_lock(&f->mutex);
  while (f->running) pthread_cond_wait(&f->changed, &f->mutex);
  pthread_mutex_unlock(&f->mutex);
  pthread_cond_destroy(&f->changed);
  pthread_mutex_destroy(&f->mutex);
  free(f);
}
`;
