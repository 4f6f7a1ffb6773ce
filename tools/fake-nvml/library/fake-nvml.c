/*
 * A fake libnvidia-ml.so.1: a test instrument that answers NVML calls from a JSON file instead of a driver.
 *
 * NVIDIA_FAKE_CONFIG names the file; src/fake-host.ts is its type. It is read again whenever its modification time, size
 * or inode changes, looked up at each call, so boards can be changed, lost or hung while a program uses them. Writers
 * replace it by rename. NVIDIA_FAKE_CALL_LOG, if set, gets a line `<function> <board UUID or ->` per call. A program that
 * cannot change its own environment calls fakeNvmlConfigure.
 *
 * Signatures, layouts and numbers are those of NVIDIA's nvml.h (API version 13). A field that the JSON leaves out is
 * NOT_SUPPORTED. Symbols can be left out when linking, see src/build-fake-nvml.ts.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- Types of nvml.h ------------------------------------------------------------------------------------------ */

typedef int nvmlReturn_t;
enum {
  SUCCESS = 0,
  UNINITIALIZED = 1,
  INVALID_ARGUMENT = 2,
  NOT_SUPPORTED = 3,
  NOT_FOUND = 6,
  INSUFFICIENT_SIZE = 7,
  DRIVER_NOT_LOADED = 9,
  TIMEOUT = 10,
  GPU_IS_LOST = 15,
  RESET_REQUIRED = 16,
  MEMORY = 20,
  ARGUMENT_VERSION_MISMATCH = 25,
  UNKNOWN = 999,
};

typedef struct slot *nvmlDevice_t;
typedef struct event_set *nvmlEventSet_t;
typedef struct gpm_sample *nvmlGpmSample_t;

typedef struct {
  char busIdLegacy[16];
  unsigned int domain, bus, device, pciDeviceId, pciSubSystemId;
  char busId[32];
} nvmlPciInfo_t;

typedef struct {
  unsigned long long total, free, used;
} nvmlMemory_t;

typedef struct {
  unsigned int version;
  unsigned long long total, reserved, free, used;
} nvmlMemory_v2_t;

typedef struct {
  unsigned long long bar1Total, bar1Free, bar1Used;
} nvmlBAR1Memory_t;

typedef struct {
  unsigned int gpu, memory;
} nvmlUtilization_t;

typedef struct {
  unsigned int pid;
  unsigned long long usedGpuMemory;
  unsigned int gpuInstanceId, computeInstanceId;
} nvmlProcessInfo_t;

typedef struct {
  unsigned int pid;
  unsigned long long timeStamp;
  unsigned int smUtil, memUtil, encUtil, decUtil;
} nvmlProcessUtilizationSample_t;

typedef struct {
  unsigned long long timeStamp;
  unsigned int pid, smUtil, memUtil, encUtil, decUtil, jpgUtil, ofaUtil;
} nvmlProcessUtilizationInfo_v1_t;

typedef struct {
  unsigned int version, processSamplesCount;
  unsigned long long lastSeenTimeStamp;
  nvmlProcessUtilizationInfo_v1_t *procUtilArray;
} nvmlProcessesUtilizationInfo_v1_t;

typedef union {
  double dVal;
  int siVal;
  unsigned int uiVal;
  unsigned long ulVal;
  unsigned long long ullVal;
  signed long long sllVal;
  unsigned short usVal;
} nvmlValue_t;

typedef struct {
  unsigned long long timeStamp;
  nvmlValue_t sampleValue;
} nvmlSample_t;

typedef struct {
  unsigned int fieldId, scopeId;
  long long timestamp, latencyUsec;
  int valueType;
  nvmlReturn_t nvmlReturn;
  nvmlValue_t value;
} nvmlFieldValue_t;

typedef struct {
  nvmlDevice_t device;
  unsigned long long eventType, eventData;
  unsigned int gpuInstanceId, computeInstanceId;
} nvmlEventData_t;

typedef struct {
  unsigned int multiprocessorCount, sharedCopyEngineCount, sharedDecoderCount, sharedEncoderCount, sharedJpegCount,
      sharedOfaCount, gpuInstanceSliceCount, computeInstanceSliceCount;
  unsigned long long memorySizeMB;
} nvmlDeviceAttributes_t;

typedef struct {
  unsigned int version, sensorType;
  int temperature;
} nvmlTemperature_t;

typedef struct {
  unsigned int version;
  int marginTemperature;
} nvmlMarginTemperature_t;

typedef struct {
  unsigned int version, fan, speed;
} nvmlFanSpeedInfo_t;

/* Version 3; version 2 ends before healthSummary. */
typedef struct {
  unsigned int version;
  unsigned char clusterUuid[16];
  nvmlReturn_t status;
  unsigned int cliqueId;
  unsigned char state;
  unsigned int healthMask;
  unsigned char healthSummary;
} nvmlGpuFabricInfoV_t;

typedef struct {
  unsigned int version, isSupportedDevice;
} nvmlGpmSupport_t;

typedef struct {
  unsigned int metricId;
  nvmlReturn_t nvmlReturn;
  double value;
  struct {
    char *shortName, *longName, *unit;
  } metricInfo;
} nvmlGpmMetric_t;

/* The array is as long as the caller's header says: 98, 210 or 333. Only numMetrics of it are touched. */
typedef struct {
  unsigned int version, numMetrics;
  nvmlGpmSample_t sample1, sample2;
  nvmlGpmMetric_t metrics[333];
} nvmlGpmMetricsGet_t;

#define SIZE(type, bytes) _Static_assert(sizeof(type) == (bytes), #type " has the wrong size")
#define OFFSET(type, field, bytes) _Static_assert(offsetof(type, field) == (bytes), #type "." #field " is misplaced")
SIZE(nvmlPciInfo_t, 68);
OFFSET(nvmlPciInfo_t, busId, 36);
SIZE(nvmlMemory_t, 24);
SIZE(nvmlMemory_v2_t, 40);
OFFSET(nvmlMemory_v2_t, total, 8);
OFFSET(nvmlMemory_v2_t, used, 32);
SIZE(nvmlBAR1Memory_t, 24);
SIZE(nvmlUtilization_t, 8);
SIZE(nvmlProcessInfo_t, 24);
OFFSET(nvmlProcessInfo_t, gpuInstanceId, 16);
SIZE(nvmlProcessUtilizationSample_t, 32);
SIZE(nvmlProcessUtilizationInfo_v1_t, 40);
SIZE(nvmlProcessesUtilizationInfo_v1_t, 24);
SIZE(nvmlValue_t, 8);
SIZE(nvmlSample_t, 16);
SIZE(nvmlFieldValue_t, 40);
OFFSET(nvmlFieldValue_t, valueType, 24);
OFFSET(nvmlFieldValue_t, value, 32);
SIZE(nvmlEventData_t, 32);
SIZE(nvmlDeviceAttributes_t, 40);
SIZE(nvmlTemperature_t, 12);
SIZE(nvmlMarginTemperature_t, 8);
SIZE(nvmlFanSpeedInfo_t, 12);
SIZE(nvmlGpuFabricInfoV_t, 40);
OFFSET(nvmlGpuFabricInfoV_t, state, 28);
OFFSET(nvmlGpuFabricInfoV_t, healthSummary, 36);
SIZE(nvmlGpmSupport_t, 8);
SIZE(nvmlGpmMetric_t, 40);
SIZE(nvmlGpmMetricsGet_t, 13344);

#define STRUCT_VERSION(bytes, version) ((unsigned int)((bytes) | ((version) << 24)))
static const unsigned int FABRIC_VERSION_2_BYTES = 36;
static const unsigned long long NOT_AVAILABLE = 0xFFFFFFFFFFFFFFFFull;
static const unsigned int NO_INSTANCE = 0xFFFFFFFFu;
static const unsigned int ALL_LINKS = 0xFFFFFFFFu;
static const unsigned long long EVENT_XID = 0x8;
static const unsigned long long SUPPORTED_EVENTS = 0x1F;
enum { MOST_LINKS = 36, MOST_GPM_METRICS = 333 };

/* ---- JSON: a tree over one copy of the text -------------------------------------------------------------------- */

struct json {
  enum { JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT } type;
  char *key;   /* Of a member of an object. */
  char *text;  /* Of a string, unescaped, or of a number. */
  struct json *child, *next;
};

static void json_free(struct json *node) {
  while (node != NULL) {
    struct json *next = node->next;
    json_free(node->child);
    free(node->key);
    free(node->text);
    free(node);
    node = next;
  }
}

static void skip_space(const char **at) {
  while (**at == ' ' || **at == '\t' || **at == '\n' || **at == '\r') (*at)++;
}

static char *append_utf8(char *out, unsigned int code) {
  if (code < 0x80) {
    *out++ = (char)code;
  } else if (code < 0x800) {
    *out++ = (char)(0xC0 | code >> 6);
    *out++ = (char)(0x80 | (code & 0x3F));
  } else {
    *out++ = (char)(0xE0 | code >> 12);
    *out++ = (char)(0x80 | (code >> 6 & 0x3F));
    *out++ = (char)(0x80 | (code & 0x3F));
  }
  return out;
}

/* The string that begins at the quote, unescaped (never longer than it was); NULL when it does not end. */
static char *parse_string(const char **at) {
  const char *end = *at + 1;
  while (*end != '"' && *end != '\0') end += end[0] == '\\' && end[1] != '\0' ? 2 : 1;
  if (*end == '\0') return NULL;
  char *text = malloc((size_t)(end - *at) + 1), *out = text;
  if (text == NULL) return NULL;
  for (const char *in = *at + 1; in < end; in++) {
    if (*in != '\\') {
      *out++ = *in;
      continue;
    }
    in++;
    static const char ESCAPES[] = "b\bf\fn\nr\rt\t";
    const char *escape = strchr("bfnrt", *in) == NULL ? NULL : strchr(ESCAPES, *in);
    unsigned int code;
    if (*in == 'u' && sscanf(in + 1, "%4x", &code) == 1) {
      out = append_utf8(out, code);
      in += 4;
    } else {
      *out++ = escape == NULL ? *in : escape[1];
    }
  }
  *out = '\0';
  *at = end + 1;
  return text;
}

static struct json *parse_value(const char **at, int depth);

/* The members of an object or array; the opening bracket is passed. False when they do not end as they should. */
static int parse_members(const char **at, struct json *parent, char close, int depth) {
  struct json **tail = &parent->child;
  skip_space(at);
  if (**at == close) return (*at)++, 1;
  for (;;) {
    char *key = NULL;
    skip_space(at);
    if (close == '}') {
      if (**at != '"' || (key = parse_string(at)) == NULL) return 0;
      skip_space(at);
      if (**at != ':') return free(key), 0;
      (*at)++;
    }
    struct json *value = parse_value(at, depth + 1);
    if (value == NULL) return free(key), 0;
    value->key = key;
    *tail = value;
    tail = &value->next;
    skip_space(at);
    if (**at == close) return (*at)++, 1;
    if (**at != ',') return 0;
    (*at)++;
  }
}

static struct json *parse_value(const char **at, int depth) {
  struct json *node = depth > 64 ? NULL : calloc(1, sizeof *node);
  if (node == NULL) return NULL;
  skip_space(at);
  int good = 1;
  if (**at == '{' || **at == '[') {
    const char close = **at == '{' ? '}' : ']';
    node->type = close == '}' ? JSON_OBJECT : JSON_ARRAY;
    (*at)++;
    good = parse_members(at, node, close, depth);
  } else if (**at == '"') {
    node->type = JSON_STRING;
    good = (node->text = parse_string(at)) != NULL;
  } else if (strncmp(*at, "true", 4) == 0) {
    node->type = JSON_TRUE;
    *at += 4;
  } else if (strncmp(*at, "false", 5) == 0) {
    node->type = JSON_FALSE;
    *at += 5;
  } else if (strncmp(*at, "null", 4) == 0) {
    *at += 4;
  } else {
    const size_t length = strspn(*at, "+-0123456789.eE");
    node->type = JSON_NUMBER;
    good = length > 0 && (node->text = strndup(*at, length)) != NULL;
    *at += length;
  }
  if (good) return node;
  json_free(node);
  return NULL;
}

/* The member, or NULL when there is none or it is null: both are a field that is left out. */
static const struct json *member(const struct json *node, const char *key) {
  if (node == NULL || node->type != JSON_OBJECT) return NULL;
  for (const struct json *at = node->child; at != NULL; at = at->next)
    if (strcmp(at->key, key) == 0) return at->type == JSON_NULL ? NULL : at;
  return NULL;
}

static const struct json *follow(const struct json *node, const char *const *keys) {
  for (; *keys != NULL && node != NULL; keys++) node = member(node, *keys);
  return node;
}
#define AT(node, ...) follow((node), (const char *const[]){__VA_ARGS__, NULL})

static const struct json *element(const struct json *list, unsigned int index) {
  const struct json *at = list == NULL || list->type != JSON_ARRAY ? NULL : list->child;
  for (; at != NULL && index > 0; index--) at = at->next;
  return at;
}

static unsigned int length_of(const struct json *list) {
  unsigned int length = 0;
  if (list != NULL && list->type == JSON_ARRAY)
    for (const struct json *at = list->child; at != NULL; at = at->next) length++;
  return length;
}
#define EACH(item, list)                                                                                              \
  for (const struct json *item = (list) == NULL || (list)->type != JSON_ARRAY ? NULL : (list)->child; item != NULL;   \
       item = item->next)

static int has_text(const struct json *list, const char *text) {
  EACH(item, list) if (item->type == JSON_STRING && strcmp(item->text, text) == 0) return 1;
  return 0;
}

static int is_true(const struct json *node) { return node != NULL && node->type == JSON_TRUE; }

static const char *text_of(const struct json *node) {
  return node != NULL && node->type == JSON_STRING ? node->text : NULL;
}

static double number_of(const struct json *node) {
  return node == NULL || node->text == NULL ? 0 : strtod(node->text, NULL);
}

/* A whole number, which may be a string because it is above 2^53, may be negative, and may have a fraction to drop. */
static unsigned long long whole_of(const struct json *node) {
  if (node == NULL || node->text == NULL) return 0;
  if (strpbrk(node->text, ".eE") != NULL) return (unsigned long long)(long long)number_of(node);
  return node->text[0] == '-' ? (unsigned long long)strtoll(node->text, NULL, 10) : strtoull(node->text, NULL, 10);
}

static unsigned int unsigned_of(const struct json *node) { return (unsigned int)whole_of(node); }

static unsigned int unsigned_or(const struct json *node, unsigned int otherwise) {
  return node == NULL ? otherwise : unsigned_of(node);
}

/* ---- The file, and what is told of it --------------------------------------------------------------------------- */

/* Guards everything below. Held for the whole of a call, but not while it hangs or waits. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned int initialized;
static char *config_path, *call_log_path;
static struct json *host;
static struct stat host_file;

/* A handle: of a board, or of a MIG device. Never given back, so that a stale one can be told from a wrong one. */
struct slot {
  char uuid[96];
};
static struct slot slots[1024];
static unsigned int slot_count;

static unsigned long long now_microseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return (unsigned long long)now.tv_sec * 1000000ull + (unsigned long long)now.tv_nsec / 1000ull;
}

static double monotonic_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Goes on after a signal: a call into a driver does not end by one either. */
static void pause_milliseconds(unsigned int milliseconds) {
  struct timespec left = {milliseconds / 1000, (long)(milliseconds % 1000) * 1000000};
  while (nanosleep(&left, &left) == -1 && errno == EINTR) continue;
}

static char *read_whole(int file, size_t size) {
  char *text = malloc(size + 1);
  size_t have = 0;
  while (text != NULL && have < size) {
    const ssize_t got = read(file, text + have, size - have);
    if (got <= 0) break;
    have += (size_t)got;
  }
  if (text != NULL) text[have] = '\0';
  return text;
}

/* Looks whether the file is another than the one read, and reads it. Without a file there is no host. */
static void refresh(void) {
  const char *path = config_path != NULL ? config_path : getenv("NVIDIA_FAKE_CONFIG");
  struct stat found;
  if (path == NULL || stat(path, &found) == -1) {
    json_free(host);
    host = NULL;
    memset(&host_file, 0, sizeof host_file);
    return;
  }
  if (found.st_ino == host_file.st_ino && found.st_size == host_file.st_size && found.st_dev == host_file.st_dev &&
      found.st_mtim.tv_sec == host_file.st_mtim.tv_sec && found.st_mtim.tv_nsec == host_file.st_mtim.tv_nsec)
    return;
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file == -1) return;
  char *text = fstat(file, &found) == -1 ? NULL : read_whole(file, (size_t)found.st_size);
  close(file);
  if (text == NULL) return;
  const char *at = text;
  struct json *parsed = parse_value(&at, 0);
  skip_space(&at);
  if (parsed == NULL || *at != '\0') {
    fprintf(stderr, "fake-nvml: %s is no JSON after %td bytes\n", path, at - text);
    json_free(parsed);
    parsed = NULL;
  }
  free(text);
  json_free(host);
  host = parsed;
  host_file = found;
}

static void log_call(const char *function, const char *uuid) {
  const char *path = call_log_path != NULL ? call_log_path : getenv("NVIDIA_FAKE_CALL_LOG");
  if (path == NULL || *path == '\0') return;
  const int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file == -1) return;
  char line[256];
  const int length = snprintf(line, sizeof line, "%s %s\n", function, uuid == NULL ? "-" : uuid);
  if (write(file, line, (size_t)length) == -1) perror("fake-nvml: call log");
  close(file);
}

/* Which files to use instead of those of the environment; NULL is the environment again. */
void fakeNvmlConfigure(const char *config, const char *callLog) {
  pthread_mutex_lock(&lock);
  free(config_path);
  free(call_log_path);
  config_path = config == NULL ? NULL : strdup(config);
  call_log_path = callLog == NULL ? NULL : strdup(callLog);
  pthread_mutex_unlock(&lock);
}

/* ---- Calls: what stands before every answer --------------------------------------------------------------------- */

struct call {
  const char *function;
  nvmlDevice_t device;
  const struct json *board, *mig; /* mig: of a MIG device's handle, whose board is then its parent. */
};
enum { NO_FLAGS = 0, IDENTITY = 1, ON_MIG = 2, ON_MIG_ONLY = 4 };

static nvmlReturn_t finish(nvmlReturn_t code) {
  pthread_mutex_unlock(&lock);
  return code;
}

static int is_slot(const struct slot *slot) {
  return slot >= slots && slot < slots + slot_count && ((const char *)slot - (const char *)slots) % sizeof *slot == 0;
}

static nvmlDevice_t slot_for(const char *uuid) {
  for (unsigned int at = 0; at < slot_count; at++)
    if (strcmp(slots[at].uuid, uuid) == 0) return &slots[at];
  if (slot_count == sizeof slots / sizeof *slots) return NULL;
  snprintf(slots[slot_count].uuid, sizeof slots->uuid, "%s", uuid);
  return &slots[slot_count++];
}

/* Finds the board or MIG device anew: the JSON may have been read again since. */
static void find_board(struct call *call, const char *uuid) {
  call->board = call->mig = NULL;
  EACH(board, member(host, "boards")) {
    const char *own = text_of(member(board, "uuid"));
    if (own != NULL && strcmp(own, uuid) == 0) {
      call->board = board;
      return;
    }
    if (!is_true(AT(board, "mig", "enabled"))) continue;
    EACH(device, AT(board, "mig", "devices")) {
      own = text_of(member(device, "uuid"));
      if (own == NULL || strcmp(own, uuid) != 0) continue;
      call->board = board;
      call->mig = device;
      return;
    }
  }
}

static int hangs(const struct json *hang, const char *function, double since) {
  if (hang == NULL) return 0;
  const struct json *functions = member(hang, "functions");
  const char *all = text_of(functions);
  if (!(all != NULL && strcmp(all, "all") == 0) && !has_text(functions, function)) return 0;
  const struct json *seconds = member(hang, "seconds");
  return seconds == NULL || monotonic_seconds() - since < number_of(seconds);
}

/* Log, crash, hang, delay and the codes that the JSON asks for. The lock is held, also afterwards. */
static nvmlReturn_t admit(struct call *call, int flags) {
  const char *function = call->function, *uuid = call->device == NULL ? NULL : call->device->uuid;
  log_call(function, uuid);
  if (has_text(member(host, "crash"), function)) raise(SIGSEGV);
  const unsigned int delay = unsigned_of(AT(host, "delays", function));
  const double since = monotonic_seconds();
  if (delay > 0) {
    pthread_mutex_unlock(&lock);
    pause_milliseconds(delay);
    pthread_mutex_lock(&lock);
    refresh();
  }
  for (;;) {
    if (uuid != NULL) find_board(call, uuid);
    if (!hangs(member(host, "hang"), function, since) && !hangs(member(call->board, "hang"), function, since)) break;
    pthread_mutex_unlock(&lock);
    pause_milliseconds(5);
    pthread_mutex_lock(&lock);
    refresh();
  }
  if (host == NULL) return UNKNOWN;
  if (uuid != NULL && (call->board == NULL || is_true(member(call->board, "lost")))) return GPU_IS_LOST;
  if (is_true(member(call->board, "resetRequired")) && !(flags & IDENTITY)) return RESET_REQUIRED;
  const struct json *code = call->mig == NULL ? NULL : AT(call->mig, "returns", function);
  if (code == NULL) code = AT(call->board, "returns", function);
  if (code == NULL) code = AT(host, "returns", function);
  if (code != NULL) return (nvmlReturn_t)unsigned_of(code);
  if (call->mig != NULL && !(flags & (ON_MIG | ON_MIG_ONLY))) return NOT_SUPPORTED;
  if (call->mig == NULL && (flags & ON_MIG_ONLY)) return NOT_SUPPORTED;
  return SUCCESS;
}

static nvmlReturn_t begin(struct call *call, const char *function) {
  *call = (struct call){.function = function};
  pthread_mutex_lock(&lock);
  refresh();
  if (initialized > 0) return SUCCESS;
  log_call(function, NULL);
  return UNINITIALIZED;
}

static nvmlReturn_t begin_system(struct call *call, const char *function) {
  const nvmlReturn_t code = begin(call, function);
  return code != SUCCESS ? code : admit(call, NO_FLAGS);
}

static nvmlReturn_t begin_device(struct call *call, const char *function, nvmlDevice_t device, int flags) {
  const nvmlReturn_t code = begin(call, function);
  if (code != SUCCESS) return code;
  if (!is_slot(device)) return log_call(function, NULL), INVALID_ARGUMENT;
  call->device = device;
  return admit(call, flags);
}

#define STARTED(begun)                                                                                                \
  do {                                                                                                                \
    const nvmlReturn_t refused = (begun);                                                                             \
    if (refused != SUCCESS) return finish(refused);                                                                   \
  } while (0)
#define SYSTEM_CALL()                                                                                                 \
  struct call call;                                                                                                   \
  STARTED(begin_system(&call, __func__))
#define DEVICE_CALL(flags)                                                                                            \
  struct call call;                                                                                                   \
  STARTED(begin_device(&call, __func__, device, flags))

/* ---- Answers ---------------------------------------------------------------------------------------------------- */

static nvmlReturn_t give_unsigned(const struct json *value, unsigned int *out) {
  if (out == NULL) return INVALID_ARGUMENT;
  if (value == NULL) return NOT_SUPPORTED;
  *out = value->type == JSON_TRUE ? 1 : value->type == JSON_FALSE ? 0 : unsigned_of(value);
  return SUCCESS;
}

static nvmlReturn_t give_whole(const struct json *value, unsigned long long *out) {
  if (out == NULL) return INVALID_ARGUMENT;
  if (value == NULL) return NOT_SUPPORTED;
  *out = whole_of(value);
  return SUCCESS;
}

static nvmlReturn_t give_text(const struct json *value, char *out, unsigned int length) {
  const char *text = text_of(value);
  if (out == NULL) return INVALID_ARGUMENT;
  if (text == NULL) return NOT_SUPPORTED;
  if (strlen(text) >= length) return INSUFFICIENT_SIZE;
  strcpy(out, text);
  return SUCCESS;
}

/* Whether this function takes the newer version of its struct, and was given it. */
static int takes_version(const struct call *call, unsigned int given, unsigned int wanted) {
  return given == wanted && !has_text(member(host, "refuseStructVersions"), call->function);
}

/* nvmlDeviceGetX(device, unsigned int *): one field of the board. */
#define UNSIGNED(function, ...)                                                                                       \
  nvmlReturn_t function(nvmlDevice_t device, unsigned int *value) {                                                   \
    DEVICE_CALL(NO_FLAGS);                                                                                            \
    return finish(give_unsigned(AT(call.board, __VA_ARGS__), value));                                                 \
  }

/* ---- Init and system -------------------------------------------------------------------------------------------- */

static nvmlReturn_t start(const char *function) {
  struct call call = {.function = function};
  pthread_mutex_lock(&lock);
  refresh();
  const nvmlReturn_t code = admit(&call, NO_FLAGS);
  if (host == NULL) return finish(DRIVER_NOT_LOADED);
  if (code != SUCCESS) return finish(code);
  const nvmlReturn_t init = (nvmlReturn_t)unsigned_of(member(host, "init"));
  if (init == SUCCESS) initialized++;
  return finish(init);
}

nvmlReturn_t nvmlInit_v2(void) { return start(__func__); }

nvmlReturn_t nvmlInitWithFlags(unsigned int flags) {
  (void)flags;
  return start(__func__);
}

nvmlReturn_t nvmlShutdown(void) {
  SYSTEM_CALL();
  initialized--;
  return finish(SUCCESS);
}

const char *nvmlErrorString(nvmlReturn_t code) {
  return code == SUCCESS ? "The operation was successful" : "Error of the fake library";
}

nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned int length) {
  SYSTEM_CALL();
  return finish(give_text(member(host, "driverVersion"), version, length));
}

nvmlReturn_t nvmlSystemGetNVMLVersion(char *version, unsigned int length) {
  SYSTEM_CALL();
  return finish(give_text(member(host, "nvmlVersion"), version, length));
}

nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *cudaDriverVersion) {
  SYSTEM_CALL();
  return finish(give_unsigned(member(host, "cudaDriverVersion"), (unsigned int *)cudaDriverVersion));
}

nvmlReturn_t nvmlSystemGetProcessName(unsigned int pid, char *name, unsigned int length) {
  SYSTEM_CALL();
  EACH(board, member(host, "boards")) EACH(process, member(board, "processes"))
      if (unsigned_of(member(process, "pid")) == pid && member(process, "name") != NULL)
        return finish(give_text(member(process, "name"), name, length));
  return finish(NOT_FOUND);
}

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *deviceCount) {
  SYSTEM_CALL();
  if (deviceCount == NULL) return finish(INVALID_ARGUMENT);
  *deviceCount = length_of(member(host, "boards"));
  return finish(SUCCESS);
}

/* The handle of the board or MIG device with this UUID, unless the board refuses. */
static nvmlReturn_t give_handle(struct call *call, const char *uuid, nvmlDevice_t *device) {
  call->device = uuid == NULL ? NULL : slot_for(uuid);
  if (call->device == NULL) return UNKNOWN;
  const nvmlReturn_t code = admit(call, IDENTITY | ON_MIG);
  if (code == SUCCESS) *device = call->device;
  return code;
}

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device) {
  struct call call;
  STARTED(begin(&call, __func__));
  const struct json *board = element(member(host, "boards"), index);
  if (board == NULL || device == NULL) {
    const nvmlReturn_t code = admit(&call, IDENTITY);
    return finish(code == SUCCESS ? INVALID_ARGUMENT : code);
  }
  return finish(give_handle(&call, text_of(member(board, "uuid")), device));
}

nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device) {
  struct call call;
  STARTED(begin(&call, __func__));
  if (uuid == NULL || device == NULL) return finish(INVALID_ARGUMENT);
  find_board(&call, uuid);
  if (call.board != NULL) return finish(give_handle(&call, uuid, device));
  const nvmlReturn_t code = admit(&call, IDENTITY);
  return finish(code == SUCCESS ? NOT_FOUND : code);
}

struct address {
  unsigned int domain, bus, device;
};

static int parse_address(const char *text, struct address *address) {
  return text != NULL && sscanf(text, "%x:%x:%x", &address->domain, &address->bus, &address->device) == 3;
}

nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char *pciBusId, nvmlDevice_t *device) {
  struct call call;
  struct address wanted, own;
  STARTED(begin(&call, __func__));
  if (device == NULL || !parse_address(pciBusId, &wanted)) return finish(INVALID_ARGUMENT);
  EACH(board, member(host, "boards"))
      if (parse_address(text_of(member(board, "pciBusId")), &own) && memcmp(&own, &wanted, sizeof own) == 0)
        return finish(give_handle(&call, text_of(member(board, "uuid")), device));
  const nvmlReturn_t code = admit(&call, IDENTITY);
  return finish(code == SUCCESS ? NOT_FOUND : code);
}

/* ---- Identity --------------------------------------------------------------------------------------------------- */

nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned int length) {
  DEVICE_CALL(IDENTITY | ON_MIG);
  return finish(give_text(member(call.mig == NULL ? call.board : call.mig, "name"), name, length));
}

nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned int length) {
  DEVICE_CALL(IDENTITY | ON_MIG);
  return finish(give_text(member(call.mig == NULL ? call.board : call.mig, "uuid"), uuid, length));
}

nvmlReturn_t nvmlDeviceGetSerial(nvmlDevice_t device, char *serial, unsigned int length) {
  DEVICE_CALL(IDENTITY);
  return finish(give_text(member(call.board, "serial"), serial, length));
}

nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t device, unsigned int *index) {
  DEVICE_CALL(IDENTITY);
  if (index == NULL) return finish(INVALID_ARGUMENT);
  *index = 0;
  EACH(board, member(host, "boards")) {
    if (board == call.board) return finish(SUCCESS);
    (*index)++;
  }
  return finish(UNKNOWN);
}

nvmlReturn_t nvmlDeviceGetMinorNumber(nvmlDevice_t device, unsigned int *minorNumber) {
  DEVICE_CALL(IDENTITY);
  return finish(give_unsigned(member(call.board, "minorNumber"), minorNumber));
}

nvmlReturn_t nvmlDeviceGetVbiosVersion(nvmlDevice_t device, char *version, unsigned int length) {
  DEVICE_CALL(NO_FLAGS);
  return finish(give_text(member(call.board, "vbios"), version, length));
}

nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *pci) {
  DEVICE_CALL(IDENTITY);
  struct address address;
  if (pci == NULL) return finish(INVALID_ARGUMENT);
  if (!parse_address(text_of(member(call.board, "pciBusId")), &address)) return finish(NOT_SUPPORTED);
  memset(pci, 0, sizeof *pci);
  pci->domain = address.domain;
  pci->bus = address.bus & 0xFF;
  pci->device = address.device & 0xFF;
  snprintf(pci->busIdLegacy, sizeof pci->busIdLegacy, "%04X:%02X:%02X.0", pci->domain & 0xFFFF, pci->bus, pci->device);
  snprintf(pci->busId, sizeof pci->busId, "%08X:%02X:%02X.0", pci->domain, pci->bus, pci->device);
  return finish(SUCCESS);
}

UNSIGNED(nvmlDeviceGetArchitecture, "architecture")
UNSIGNED(nvmlDeviceGetVirtualizationMode, "virtualizationMode")

nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t device, int *major, int *minor) {
  DEVICE_CALL(NO_FLAGS);
  const char *text = text_of(member(call.board, "computeCapability"));
  if (major == NULL || minor == NULL) return finish(INVALID_ARGUMENT);
  if (text == NULL || sscanf(text, "%d.%d", major, minor) != 2) return finish(NOT_SUPPORTED);
  return finish(SUCCESS);
}

/* ---- Load and memory -------------------------------------------------------------------------------------------- */

nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *utilization) {
  DEVICE_CALL(NO_FLAGS);
  const struct json *gpu = AT(call.board, "utilization", "gpu");
  if (utilization == NULL) return finish(INVALID_ARGUMENT);
  if (gpu == NULL) return finish(NOT_SUPPORTED);
  utilization->gpu = unsigned_of(gpu);
  utilization->memory = unsigned_of(AT(call.board, "utilization", "memory"));
  return finish(SUCCESS);
}

#define ENGINE_UTILIZATION(function, key)                                                                             \
  nvmlReturn_t function(nvmlDevice_t device, unsigned int *utilization, unsigned int *samplingPeriodUs) {             \
    DEVICE_CALL(NO_FLAGS);                                                                                            \
    if (samplingPeriodUs == NULL) return finish(INVALID_ARGUMENT);                                                    \
    *samplingPeriodUs = 167000;                                                                                       \
    return finish(give_unsigned(AT(call.board, "utilization", key), utilization));                                    \
  }
ENGINE_UTILIZATION(nvmlDeviceGetEncoderUtilization, "encoder")
ENGINE_UTILIZATION(nvmlDeviceGetDecoderUtilization, "decoder")
ENGINE_UTILIZATION(nvmlDeviceGetJpgUtilization, "jpeg")
ENGINE_UTILIZATION(nvmlDeviceGetOfaUtilization, "ofa")

/* Fills in version 2 of the struct, without its version field. */
static nvmlReturn_t memory_of(const struct call *call, nvmlMemory_v2_t *memory) {
  const struct json *found = member(call->mig == NULL ? call->board : call->mig, "memory");
  if (found == NULL) return NOT_SUPPORTED;
  memory->total = whole_of(member(found, "totalBytes"));
  memory->used = whole_of(member(found, "usedBytes"));
  memory->reserved = whole_of(member(found, "reservedBytes"));
  memory->free = memory->total - memory->used - memory->reserved;
  return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *memory) {
  DEVICE_CALL(ON_MIG);
  if (memory == NULL) return finish(INVALID_ARGUMENT);
  if (!takes_version(&call, memory->version, STRUCT_VERSION(sizeof *memory, 2)))
    return finish(ARGUMENT_VERSION_MISMATCH);
  return finish(memory_of(&call, memory));
}

/* The first version knows no reserved memory: it counts as used. */
nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory) {
  DEVICE_CALL(ON_MIG);
  nvmlMemory_v2_t found;
  if (memory == NULL) return finish(INVALID_ARGUMENT);
  const nvmlReturn_t code = memory_of(&call, &found);
  if (code == SUCCESS) *memory = (nvmlMemory_t){found.total, found.free, found.used + found.reserved};
  return finish(code);
}

nvmlReturn_t nvmlDeviceGetBAR1MemoryInfo(nvmlDevice_t device, nvmlBAR1Memory_t *bar1Memory) {
  DEVICE_CALL(NO_FLAGS);
  const struct json *found = member(call.board, "bar1");
  if (bar1Memory == NULL) return finish(INVALID_ARGUMENT);
  if (found == NULL) return finish(NOT_SUPPORTED);
  bar1Memory->bar1Total = whole_of(member(found, "totalBytes"));
  bar1Memory->bar1Used = whole_of(member(found, "usedBytes"));
  bar1Memory->bar1Free = bar1Memory->bar1Total - bar1Memory->bar1Used;
  return finish(SUCCESS);
}

/* ---- Thermals, power, clocks, fans ------------------------------------------------------------------------------ */

nvmlReturn_t nvmlDeviceGetTemperatureV(nvmlDevice_t device, nvmlTemperature_t *temperature) {
  DEVICE_CALL(NO_FLAGS);
  if (temperature == NULL || temperature->sensorType != 0) return finish(INVALID_ARGUMENT);
  if (!takes_version(&call, temperature->version, STRUCT_VERSION(sizeof *temperature, 1)))
    return finish(ARGUMENT_VERSION_MISMATCH);
  return finish(give_unsigned(AT(call.board, "temperatures", "core"), (unsigned int *)&temperature->temperature));
}

nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, unsigned int sensorType, unsigned int *temp) {
  DEVICE_CALL(NO_FLAGS);
  if (sensorType != 0) return finish(INVALID_ARGUMENT);
  return finish(give_unsigned(AT(call.board, "temperatures", "core"), temp));
}

nvmlReturn_t nvmlDeviceGetTemperatureThreshold(nvmlDevice_t device, unsigned int thresholdType, unsigned int *temp) {
  static const char *const KINDS[] = {"shutdown",        "slowdown",        "memoryMaximum",  "gpuMaximum",
                                      "acousticMinimum", "acousticCurrent", "acousticMaximum"};
  DEVICE_CALL(NO_FLAGS);
  if (thresholdType >= sizeof KINDS / sizeof *KINDS) return finish(INVALID_ARGUMENT);
  return finish(give_unsigned(AT(call.board, "temperatures", "thresholds", KINDS[thresholdType]), temp));
}

nvmlReturn_t nvmlDeviceGetMarginTemperature(nvmlDevice_t device, nvmlMarginTemperature_t *marginTempInfo) {
  DEVICE_CALL(NO_FLAGS);
  if (marginTempInfo == NULL) return finish(INVALID_ARGUMENT);
  if (!takes_version(&call, marginTempInfo->version, STRUCT_VERSION(sizeof *marginTempInfo, 1)))
    return finish(ARGUMENT_VERSION_MISMATCH);
  return finish(
      give_unsigned(AT(call.board, "temperatures", "margin"), (unsigned int *)&marginTempInfo->marginTemperature));
}

UNSIGNED(nvmlDeviceGetPowerUsage, "power", "usageMilliwatts")
UNSIGNED(nvmlDeviceGetEnforcedPowerLimit, "power", "enforcedLimitMilliwatts")
UNSIGNED(nvmlDeviceGetPowerManagementLimit, "power", "requestedLimitMilliwatts")
UNSIGNED(nvmlDeviceGetPowerManagementDefaultLimit, "power", "defaultLimitMilliwatts")

nvmlReturn_t nvmlDeviceGetPowerManagementLimitConstraints(nvmlDevice_t device, unsigned int *minLimit,
                                                          unsigned int *maxLimit) {
  DEVICE_CALL(NO_FLAGS);
  const nvmlReturn_t code = give_unsigned(AT(call.board, "power", "minimumLimitMilliwatts"), minLimit);
  if (code != SUCCESS) return finish(code);
  return finish(give_unsigned(AT(call.board, "power", "maximumLimitMilliwatts"), maxLimit));
}

nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t device, unsigned long long *energy) {
  DEVICE_CALL(NO_FLAGS);
  return finish(give_whole(member(call.board, "energyMillijoules"), energy));
}

#define CLOCKS(function, key)                                                                                         \
  nvmlReturn_t function(nvmlDevice_t device, unsigned int type, unsigned int *clock) {                                \
    static const char *const DOMAINS[] = {"graphics", "sm", "memory", "video"};                                       \
    DEVICE_CALL(NO_FLAGS);                                                                                            \
    if (type >= sizeof DOMAINS / sizeof *DOMAINS) return finish(INVALID_ARGUMENT);                                    \
    return finish(give_unsigned(AT(call.board, key, DOMAINS[type]), clock));                                          \
  }
CLOCKS(nvmlDeviceGetClockInfo, "clocks")
CLOCKS(nvmlDeviceGetMaxClockInfo, "maxClocks")

UNSIGNED(nvmlDeviceGetPerformanceState, "performanceState")

nvmlReturn_t nvmlDeviceGetCurrentClocksEventReasons(nvmlDevice_t device, unsigned long long *clocksEventReasons) {
  DEVICE_CALL(NO_FLAGS);
  return finish(give_whole(member(call.board, "clockEventReasons"), clocksEventReasons));
}

nvmlReturn_t nvmlDeviceGetCurrentClocksThrottleReasons(nvmlDevice_t device,
                                                       unsigned long long *clocksThrottleReasons) {
  DEVICE_CALL(NO_FLAGS);
  return finish(give_whole(member(call.board, "clockEventReasons"), clocksThrottleReasons));
}

nvmlReturn_t nvmlDeviceGetNumFans(nvmlDevice_t device, unsigned int *numFans) {
  DEVICE_CALL(NO_FLAGS);
  if (numFans == NULL) return finish(INVALID_ARGUMENT);
  if (member(call.board, "fans") == NULL) return finish(NOT_SUPPORTED);
  *numFans = length_of(member(call.board, "fans"));
  return finish(SUCCESS);
}

static nvmlReturn_t give_fan(const struct call *call, unsigned int fan, const char *key, unsigned int *out) {
  const struct json *fans = member(call->board, "fans"), *found = element(fans, fan);
  if (fans == NULL) return NOT_SUPPORTED;
  return found == NULL ? INVALID_ARGUMENT : give_unsigned(member(found, key), out);
}

nvmlReturn_t nvmlDeviceGetFanSpeed_v2(nvmlDevice_t device, unsigned int fan, unsigned int *speed) {
  DEVICE_CALL(NO_FLAGS);
  return finish(give_fan(&call, fan, "percent", speed));
}

nvmlReturn_t nvmlDeviceGetFanSpeedRPM(nvmlDevice_t device, nvmlFanSpeedInfo_t *fanSpeed) {
  DEVICE_CALL(NO_FLAGS);
  if (fanSpeed == NULL) return finish(INVALID_ARGUMENT);
  if (!takes_version(&call, fanSpeed->version, STRUCT_VERSION(sizeof *fanSpeed, 1)))
    return finish(ARGUMENT_VERSION_MISMATCH);
  return finish(give_fan(&call, fanSpeed->fan, "rpm", &fanSpeed->speed));
}

/* ---- Reliability ------------------------------------------------------------------------------------------------ */

nvmlReturn_t nvmlDeviceGetEccMode(nvmlDevice_t device, unsigned int *current, unsigned int *pending) {
  DEVICE_CALL(NO_FLAGS);
  const struct json *enabled = AT(call.board, "ecc", "enabled"), *next = AT(call.board, "ecc", "pending");
  const nvmlReturn_t code = give_unsigned(enabled, current);
  return finish(code != SUCCESS ? code : give_unsigned(next == NULL ? enabled : next, pending));
}

/* The counters of one type and lifetime; NULL where there are none. */
static const struct json *ecc_counters(const struct call *call, unsigned int type, unsigned int lifetime) {
  if (!is_true(AT(call->board, "ecc", "enabled"))) return NULL;
  return AT(call->board, "ecc", type == 0 ? "corrected" : "uncorrected", lifetime == 0 ? "volatile" : "aggregate");
}

nvmlReturn_t nvmlDeviceGetTotalEccErrors(nvmlDevice_t device, unsigned int errorType, unsigned int counterType,
                                         unsigned long long *eccCounts) {
  DEVICE_CALL(NO_FLAGS);
  const struct json *counters = ecc_counters(&call, errorType, counterType);
  if (eccCounts == NULL || errorType > 1 || counterType > 1) return finish(INVALID_ARGUMENT);
  if (counters == NULL || counters->child == NULL) return finish(NOT_SUPPORTED);
  *eccCounts = 0;
  for (const struct json *counter = counters->child; counter != NULL; counter = counter->next)
    *eccCounts += whole_of(counter);
  return finish(SUCCESS);
}

nvmlReturn_t nvmlDeviceGetMemoryErrorCounter(nvmlDevice_t device, unsigned int errorType, unsigned int counterType,
                                             unsigned int locationType, unsigned long long *count) {
  static const char *const LOCATIONS[] = {"l1",           "l2",  "dram", "registerFile", "textureMemory",
                                          "textureShared", "cbu", "sram"};
  DEVICE_CALL(NO_FLAGS);
  if (errorType > 1 || counterType > 1 || locationType >= sizeof LOCATIONS / sizeof *LOCATIONS)
    return finish(INVALID_ARGUMENT);
  return finish(give_whole(member(ecc_counters(&call, errorType, counterType), LOCATIONS[locationType]), count));
}

/* Without room for the addresses it tells their number: INSUFFICIENT_SIZE, or SUCCESS when there are none. */
nvmlReturn_t nvmlDeviceGetRetiredPages(nvmlDevice_t device, unsigned int cause, unsigned int *pageCount,
                                       unsigned long long *addresses) {
  DEVICE_CALL(NO_FLAGS);
  if (pageCount == NULL || cause > 1) return finish(INVALID_ARGUMENT);
  const struct json *pages = AT(call.board, "retiredPages", cause == 0 ? "multipleSingleBit" : "doubleBit");
  if (pages == NULL) return finish(NOT_SUPPORTED);
  const unsigned int room = *pageCount;
  *pageCount = unsigned_of(pages);
  if (*pageCount > room) return finish(INSUFFICIENT_SIZE);
  if (*pageCount > 0 && addresses == NULL) return finish(INVALID_ARGUMENT);
  for (unsigned int page = 0; page < *pageCount; page++) addresses[page] = 0x1000ull * (page + 1);
  return finish(SUCCESS);
}

UNSIGNED(nvmlDeviceGetRetiredPagesPendingStatus, "retiredPages", "pending")

nvmlReturn_t nvmlDeviceGetRemappedRows(nvmlDevice_t device, unsigned int *corrRows, unsigned int *uncRows,
                                       unsigned int *isPending, unsigned int *failureOccurred) {
  DEVICE_CALL(NO_FLAGS);
  const struct json *rows = member(call.board, "remappedRows");
  if (corrRows == NULL || uncRows == NULL || isPending == NULL || failureOccurred == NULL)
    return finish(INVALID_ARGUMENT);
  if (rows == NULL) return finish(NOT_SUPPORTED);
  *corrRows = unsigned_of(member(rows, "corrected"));
  *uncRows = unsigned_of(member(rows, "uncorrected"));
  *isPending = (unsigned int)is_true(member(rows, "pending"));
  *failureOccurred = (unsigned int)is_true(member(rows, "failure"));
  return finish(SUCCESS);
}

/* ---- Links ------------------------------------------------------------------------------------------------------ */

UNSIGNED(nvmlDeviceGetCurrPcieLinkGeneration, "pcie", "generation")
UNSIGNED(nvmlDeviceGetMaxPcieLinkGeneration, "pcie", "maximumGeneration")
UNSIGNED(nvmlDeviceGetCurrPcieLinkWidth, "pcie", "width")
UNSIGNED(nvmlDeviceGetMaxPcieLinkWidth, "pcie", "maximumWidth")
UNSIGNED(nvmlDeviceGetPcieReplayCounter, "pcie", "replays")

nvmlReturn_t nvmlDeviceGetPcieThroughput(nvmlDevice_t device, unsigned int counter, unsigned int *value) {
  DEVICE_CALL(NO_FLAGS);
  if (counter > 1) return finish(INVALID_ARGUMENT);
  const char *key = counter == 0 ? "transmitKilobytesPerSecond" : "receiveKilobytesPerSecond";
  return finish(give_unsigned(AT(call.board, "pcie", key), value));
}

/* The link in question, or the code to answer. */
static nvmlReturn_t find_link(const struct call *call, unsigned int link, const struct json **found) {
  const struct json *links = member(call->board, "nvlinks");
  if (link >= MOST_LINKS) return INVALID_ARGUMENT;
  if (links == NULL) return NOT_SUPPORTED;
  *found = element(links, link);
  return *found == NULL ? INVALID_ARGUMENT : SUCCESS;
}

nvmlReturn_t nvmlDeviceGetNvLinkState(nvmlDevice_t device, unsigned int link, unsigned int *isActive) {
  DEVICE_CALL(NO_FLAGS);
  const struct json *found;
  const nvmlReturn_t code = find_link(&call, link, &found);
  return finish(code != SUCCESS ? code : give_unsigned(member(found, "active"), isActive));
}

nvmlReturn_t nvmlDeviceGetNvLinkErrorCounter(nvmlDevice_t device, unsigned int link, unsigned int counter,
                                             unsigned long long *counterValue) {
  static const char *const COUNTERS[] = {"replay", "recovery", "crcFlit", "crcData", "eccData"};
  DEVICE_CALL(NO_FLAGS);
  const struct json *found;
  const nvmlReturn_t code = find_link(&call, link, &found);
  if (code != SUCCESS) return finish(code);
  if (counter >= sizeof COUNTERS / sizeof *COUNTERS) return finish(INVALID_ARGUMENT);
  return finish(give_whole(AT(found, "errors", COUNTERS[counter]), counterValue));
}

nvmlReturn_t nvmlDeviceGetGpuFabricInfoV(nvmlDevice_t device, nvmlGpuFabricInfoV_t *gpuFabricInfo) {
  DEVICE_CALL(NO_FLAGS);
  const struct json *fabric = member(call.board, "fabric");
  if (gpuFabricInfo == NULL) return finish(INVALID_ARGUMENT);
  const int third = takes_version(&call, gpuFabricInfo->version, STRUCT_VERSION(sizeof *gpuFabricInfo, 3));
  if (!third && gpuFabricInfo->version != STRUCT_VERSION(FABRIC_VERSION_2_BYTES, 2))
    return finish(ARGUMENT_VERSION_MISMATCH);
  if (fabric == NULL) return finish(NOT_SUPPORTED);
  memset(gpuFabricInfo->clusterUuid, 0, sizeof gpuFabricInfo->clusterUuid);
  gpuFabricInfo->status = (nvmlReturn_t)unsigned_of(member(fabric, "status"));
  gpuFabricInfo->cliqueId = unsigned_of(member(fabric, "cliqueId"));
  gpuFabricInfo->state = (unsigned char)unsigned_of(member(fabric, "state"));
  gpuFabricInfo->healthMask = unsigned_of(member(fabric, "healthMask"));
  if (third) gpuFabricInfo->healthSummary = (unsigned char)unsigned_of(member(fabric, "healthSummary"));
  return finish(SUCCESS);
}

/* ---- Field values ----------------------------------------------------------------------------------------------- */

enum { TYPE_DOUBLE = 0, TYPE_UNSIGNED = 1, TYPE_U64 = 3, TYPE_I64 = 4, TYPE_INT = 5, TYPE_U16 = 6 };

/* Fields that are one value of the board, wherever their scope does not matter. */
static const struct {
  unsigned int id;
  int type;
  const char *path[3];
} FIELDS[] = {
    {74, TYPE_U64, {"clockEventCounters", "swPowerCap"}},
    {76, TYPE_U64, {"clockEventCounters", "syncBoost"}},
    {82, TYPE_UNSIGNED, {"temperatures", "memory"}},
    {83, TYPE_U64, {"energyMillijoules"}},
    {94, TYPE_UNSIGNED, {"pcie", "replays"}},
    {95, TYPE_UNSIGNED, {"pcie", "replayRollovers"}},
    {142, TYPE_UNSIGNED, {"remappedRows", "corrected"}},
    {143, TYPE_UNSIGNED, {"remappedRows", "uncorrected"}},
    {144, TYPE_UNSIGNED, {"remappedRows", "pending"}},
    {145, TYPE_UNSIGNED, {"remappedRows", "failure"}},
    {187, TYPE_UNSIGNED, {"power", "minimumLimitMilliwatts"}},
    {188, TYPE_UNSIGNED, {"power", "maximumLimitMilliwatts"}},
    {189, TYPE_UNSIGNED, {"power", "defaultLimitMilliwatts"}},
    {190, TYPE_UNSIGNED, {"power", "enforcedLimitMilliwatts"}},
    {192, TYPE_UNSIGNED, {"power", "requestedLimitMilliwatts"}},
    {193, TYPE_INT, {"temperatures", "thresholdOffsets", "shutdown"}},
    {194, TYPE_INT, {"temperatures", "thresholdOffsets", "slowdown"}},
    {195, TYPE_INT, {"temperatures", "thresholdOffsets", "memoryMaximum"}},
    {196, TYPE_INT, {"temperatures", "thresholdOffsets", "gpuMaximum"}},
    {197, TYPE_U64, {"pcie", "transmitBytes"}},
    {198, TYPE_U64, {"pcie", "receiveBytes"}},
    {230, TYPE_UNSIGNED, {"recoveryAction"}},
    {269, TYPE_U64, {"clockEventCounters", "swThermal"}},
    {270, TYPE_U64, {"clockEventCounters", "hwThermal"}},
    {271, TYPE_U64, {"clockEventCounters", "hwPowerBrake"}},
};

/* Fields whose scope is a link. `all`: asked with 0xFFFFFFFF they are the sum over the links. */
static const struct {
  unsigned int id;
  int type, all;
  const char *key;
} LINK_FIELDS[] = {
    {138, TYPE_U64, 1, "transmitKibibytes"},      {139, TYPE_U64, 1, "receiveKibibytes"},
    {164, TYPE_UNSIGNED, 0, "speedMegabytesPerSecond"}, {165, TYPE_UNSIGNED, 0, "active"},
    {202, TYPE_U64, 1, "transmitBytes"},          {204, TYPE_U64, 1, "receiveBytes"},
};

/* Power by scope: the GPU, the module with its CPU, the memory. */
static const char *const AVERAGE_POWER[] = {"averageMilliwatts", "moduleAverageMilliwatts", "memoryAverageMilliwatts"};
static const char *const INSTANT_POWER[] = {"instantMilliwatts", "moduleInstantMilliwatts", "memoryInstantMilliwatts"};

static nvmlReturn_t put(nvmlFieldValue_t *field, const struct json *value, int type) {
  if (value == NULL) return NOT_SUPPORTED;
  field->valueType = type;
  field->value.ullVal = 0;
  const unsigned long long whole = value->type == JSON_TRUE ? 1 : whole_of(value);
  if (type == TYPE_DOUBLE) field->value.dVal = number_of(value);
  else if (type == TYPE_UNSIGNED || type == TYPE_INT) field->value.uiVal = (unsigned int)whole;
  else if (type == TYPE_U16) field->value.usVal = (unsigned short)whole;
  else field->value.ullVal = whole;
  return SUCCESS;
}

/* What the JSON says of this field by number. */
static nvmlReturn_t put_override(nvmlFieldValue_t *field, const struct json *override) {
  if (override->type != JSON_OBJECT) return put(field, override, TYPE_U64);
  const struct json *code = member(override, "code");
  if (code != NULL) return (nvmlReturn_t)unsigned_of(code);
  return put(field, member(override, "value"), (int)unsigned_or(member(override, "type"), TYPE_U64));
}

static nvmlReturn_t put_link_field(const struct call *call, nvmlFieldValue_t *field, unsigned int at) {
  const struct json *links = member(call->board, "nvlinks"), *link = NULL;
  if (field->scopeId != ALL_LINKS || !LINK_FIELDS[at].all) {
    const nvmlReturn_t code = find_link(call, field->scopeId, &link);
    return code != SUCCESS ? code : put(field, member(link, LINK_FIELDS[at].key), LINK_FIELDS[at].type);
  }
  unsigned long long sum = 0;
  int any = 0;
  EACH(one, links) {
    const struct json *value = member(one, LINK_FIELDS[at].key);
    sum += whole_of(value);
    any |= value != NULL;
  }
  if (!any) return NOT_SUPPORTED;
  field->valueType = LINK_FIELDS[at].type;
  field->value.ullVal = sum;
  return SUCCESS;
}

static nvmlReturn_t put_field(const struct call *call, nvmlFieldValue_t *field) {
  char name[32];
  snprintf(name, sizeof name, "%u:%u", field->fieldId, field->scopeId);
  const struct json *override = AT(call->board, "fields", name);
  *strchr(name, ':') = '\0';
  if (override == NULL) override = AT(call->board, "fields", name);
  if (override != NULL) return put_override(field, override);
  for (unsigned int at = 0; at < sizeof FIELDS / sizeof *FIELDS; at++)
    if (FIELDS[at].id == field->fieldId) {
      const char *const path[] = {FIELDS[at].path[0], FIELDS[at].path[1], FIELDS[at].path[2], NULL};
      return put(field, follow(call->board, path), FIELDS[at].type);
    }
  for (unsigned int at = 0; at < sizeof LINK_FIELDS / sizeof *LINK_FIELDS; at++)
    if (LINK_FIELDS[at].id == field->fieldId) return put_link_field(call, field, at);
  const struct json *links = member(call->board, "nvlinks");
  switch (field->fieldId) {
    case 90:
      return put(field, member(element(links, 0), "speedMegabytesPerSecond"), TYPE_UNSIGNED);
    case 91:
      if (links == NULL) return NOT_SUPPORTED;
      field->valueType = TYPE_UNSIGNED;
      field->value.uiVal = length_of(links);
      return SUCCESS;
    case 185:
    case 186:
      if (field->scopeId > 2) return INVALID_ARGUMENT;
      return put(field, AT(call->board, "power", (field->fieldId == 185 ? AVERAGE_POWER : INSTANT_POWER)[field->scopeId]),
                 TYPE_UNSIGNED);
    default:
      return NOT_SUPPORTED;
  }
}

nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t device, int valuesCount, nvmlFieldValue_t *values) {
  DEVICE_CALL(NO_FLAGS);
  if (values == NULL || valuesCount <= 0) return finish(INVALID_ARGUMENT);
  for (int at = 0; at < valuesCount; at++) {
    values[at].timestamp = (long long)now_microseconds();
    values[at].latencyUsec = 0;
    values[at].nvmlReturn = put_field(&call, &values[at]);
  }
  return finish(SUCCESS);
}

/* ---- Samples ---------------------------------------------------------------------------------------------------- */

/* By nvmlSamplingType_t: where the list is, and where the present value. */
static const struct {
  const char *list, *group, *value;
} SAMPLE_TYPES[] = {
    {"power", "power", "usageMilliwatts"},
    {"gpu", "utilization", "gpu"},
    {"memory", "utilization", "memory"},
    {"encoder", "utilization", "encoder"},
    {"decoder", "utilization", "decoder"},
    {NULL, NULL, NULL},
    {NULL, NULL, NULL},
    {NULL, NULL, NULL},
    {"jpeg", "utilization", "jpeg"},
    {"ofa", "utilization", "ofa"},
};

/* When the file was written: what the age of its samples counts from. */
static unsigned long long written_microseconds(void) {
  return (unsigned long long)host_file.st_mtim.tv_sec * 1000000ull +
         (unsigned long long)host_file.st_mtim.tv_nsec / 1000ull;
}

nvmlReturn_t nvmlDeviceGetSamples(nvmlDevice_t device, unsigned int type, unsigned long long lastSeenTimeStamp,
                                  int *sampleValType, unsigned int *sampleCount, nvmlSample_t *samples) {
  DEVICE_CALL(NO_FLAGS);
  if (type >= sizeof SAMPLE_TYPES / sizeof *SAMPLE_TYPES || sampleValType == NULL || sampleCount == NULL)
    return finish(INVALID_ARGUMENT);
  const struct json *list = SAMPLE_TYPES[type].list == NULL ? NULL : AT(call.board, "samples", SAMPLE_TYPES[type].list);
  const struct json *present =
      list == NULL ? NULL : AT(call.board, SAMPLE_TYPES[type].group, SAMPLE_TYPES[type].value);
  const int live = list != NULL && list->type == JSON_STRING;
  if (list == NULL || (live && present == NULL)) return finish(NOT_SUPPORTED);
  *sampleValType = TYPE_UNSIGNED;
  const unsigned int room = *sampleCount;
  *sampleCount = live ? 1 : length_of(list);
  if (samples == NULL) return finish(SUCCESS);
  unsigned int written = 0;
  if (live && room > 0) {
    samples[written] = (nvmlSample_t){.timeStamp = now_microseconds()};
    samples[written].sampleValue.uiVal = unsigned_of(present);
    if (samples[written].timeStamp > lastSeenTimeStamp) written++;
  }
  EACH(sample, list) {
    const unsigned long long age = (unsigned long long)(number_of(element(sample, 0)) * 1000);
    const unsigned long long time = written_microseconds() - age;
    if (time <= lastSeenTimeStamp || written >= room) continue;
    samples[written] = (nvmlSample_t){.timeStamp = time};
    samples[written++].sampleValue.uiVal = unsigned_of(element(sample, 1));
  }
  *sampleCount = written;
  return finish(written == 0 ? NOT_FOUND : SUCCESS);
}

/* ---- Processes -------------------------------------------------------------------------------------------------- */

static int has_type(const struct json *process, const char *type) {
  const char *own = text_of(member(process, "type"));
  return own != NULL && (strcmp(own, type) == 0 || (strcmp(own, "compute+graphics") == 0 && strcmp(type, "mps") != 0));
}

static int is_on(const struct json *process, const struct json *mig) {
  return mig == NULL ||
         (unsigned_or(member(process, "gpuInstanceId"), NO_INSTANCE) == unsigned_of(member(mig, "gpuInstanceId")) &&
          unsigned_or(member(process, "computeInstanceId"), NO_INSTANCE) ==
              unsigned_of(member(mig, "computeInstanceId")));
}

static nvmlReturn_t give_processes(const struct call *call, const char *type, unsigned int *infoCount,
                                   nvmlProcessInfo_t *infos) {
  const struct json *processes = member(call->board, "processes");
  if (infoCount == NULL || (*infoCount > 0 && infos == NULL)) return INVALID_ARGUMENT;
  if (processes == NULL) return NOT_SUPPORTED;
  const unsigned int room = *infoCount;
  unsigned int found = 0;
  EACH(process, processes) {
    if (!has_type(process, type) || !is_on(process, call->mig)) continue;
    const struct json *memory = member(process, "memoryBytes");
    if (found < room)
      infos[found] = (nvmlProcessInfo_t){
          .pid = unsigned_of(member(process, "pid")),
          .usedGpuMemory = memory == NULL ? NOT_AVAILABLE : whole_of(memory),
          .gpuInstanceId = unsigned_or(member(process, "gpuInstanceId"), NO_INSTANCE),
          .computeInstanceId = unsigned_or(member(process, "computeInstanceId"), NO_INSTANCE),
      };
    found++;
  }
  *infoCount = found;
  return found > room ? INSUFFICIENT_SIZE : SUCCESS;
}

/* Version 2 has the same structs as 3, and is what drivers before R510 have. */
#define PROCESSES(function, type)                                                                                     \
  nvmlReturn_t function(nvmlDevice_t device, unsigned int *infoCount, nvmlProcessInfo_t *infos) {                     \
    DEVICE_CALL(ON_MIG);                                                                                              \
    return finish(give_processes(&call, type, infoCount, infos));                                                     \
  }
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v3, "compute")
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v3, "graphics")
PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses_v3, "mps")
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v2, "compute")
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v2, "graphics")
PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses_v2, "mps")

/* The sample of one process, which is always of now. False when it has none. */
static int utilization_of(const struct json *process, nvmlProcessUtilizationInfo_v1_t *sample) {
  if (member(process, "smUtilization") == NULL) return 0;
  *sample = (nvmlProcessUtilizationInfo_v1_t){
      .timeStamp = now_microseconds(),
      .pid = unsigned_of(member(process, "pid")),
      .smUtil = unsigned_of(member(process, "smUtilization")),
      .memUtil = unsigned_of(member(process, "memoryUtilization")),
      .encUtil = unsigned_of(member(process, "encoderUtilization")),
      .decUtil = unsigned_of(member(process, "decoderUtilization")),
  };
  return 1;
}

static unsigned int count_samples(const struct json *processes) {
  unsigned int count = 0;
  EACH(process, processes) if (member(process, "smUtilization") != NULL) count++;
  return count;
}

nvmlReturn_t nvmlDeviceGetProcessUtilization(nvmlDevice_t device, nvmlProcessUtilizationSample_t *utilization,
                                             unsigned int *processSamplesCount,
                                             unsigned long long lastSeenTimeStamp) {
  DEVICE_CALL(NO_FLAGS);
  const struct json *processes = member(call.board, "processes");
  if (processSamplesCount == NULL) return finish(INVALID_ARGUMENT);
  if (processes == NULL) return finish(NOT_SUPPORTED);
  const unsigned int room = *processSamplesCount, needed = count_samples(processes);
  *processSamplesCount = needed;
  if (utilization == NULL) return finish(SUCCESS);
  if (needed > room) return finish(INSUFFICIENT_SIZE);
  unsigned int written = 0;
  EACH(process, processes) {
    nvmlProcessUtilizationInfo_v1_t sample;
    if (!utilization_of(process, &sample) || sample.timeStamp <= lastSeenTimeStamp) continue;
    utilization[written++] = (nvmlProcessUtilizationSample_t){
        sample.pid, sample.timeStamp, sample.smUtil, sample.memUtil, sample.encUtil, sample.decUtil};
  }
  *processSamplesCount = written;
  return finish(written == 0 ? NOT_FOUND : SUCCESS);
}

nvmlReturn_t nvmlDeviceGetProcessesUtilizationInfo(nvmlDevice_t device,
                                                   nvmlProcessesUtilizationInfo_v1_t *procesesUtilInfo) {
  DEVICE_CALL(NO_FLAGS);
  const struct json *processes = member(call.board, "processes");
  if (procesesUtilInfo == NULL) return finish(INVALID_ARGUMENT);
  if (!takes_version(&call, procesesUtilInfo->version, STRUCT_VERSION(sizeof *procesesUtilInfo, 1)))
    return finish(ARGUMENT_VERSION_MISMATCH);
  if (processes == NULL) return finish(NOT_SUPPORTED);
  const unsigned int needed = count_samples(processes);
  const unsigned int room = procesesUtilInfo->procUtilArray == NULL ? 0 : procesesUtilInfo->processSamplesCount;
  procesesUtilInfo->processSamplesCount = needed;
  if (needed > room) return finish(INSUFFICIENT_SIZE);
  unsigned int written = 0;
  EACH(process, processes) {
    nvmlProcessUtilizationInfo_v1_t sample;
    if (utilization_of(process, &sample) && sample.timeStamp > procesesUtilInfo->lastSeenTimeStamp)
      procesesUtilInfo->procUtilArray[written++] = sample;
  }
  procesesUtilInfo->processSamplesCount = written;
  return finish(written == 0 ? NOT_FOUND : SUCCESS);
}

/* ---- Events ----------------------------------------------------------------------------------------------------- */

struct event_set {
  struct event_set *next;
  struct {
    nvmlDevice_t device;
    unsigned long long types;
  } boards[64];
  unsigned int board_count, delivered_count;
  unsigned long long delivered[4096];
};
static struct event_set *event_sets;

static int is_event_set(const struct event_set *set) {
  for (const struct event_set *at = event_sets; at != NULL; at = at->next)
    if (at == set) return 1;
  return 0;
}

nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *set) {
  SYSTEM_CALL();
  if (set == NULL) return finish(INVALID_ARGUMENT);
  struct event_set *made = calloc(1, sizeof *made);
  if (made == NULL) return finish(MEMORY);
  made->next = event_sets;
  event_sets = made;
  *set = made;
  return finish(SUCCESS);
}

nvmlReturn_t nvmlEventSetFree(nvmlEventSet_t set) {
  SYSTEM_CALL();
  for (struct event_set **at = &event_sets; *at != NULL; at = &(*at)->next)
    if (*at == set) {
      *at = set->next;
      free(set);
      return finish(SUCCESS);
    }
  return finish(INVALID_ARGUMENT);
}

nvmlReturn_t nvmlDeviceGetSupportedEventTypes(nvmlDevice_t device, unsigned long long *eventTypes) {
  DEVICE_CALL(NO_FLAGS);
  if (eventTypes == NULL) return finish(INVALID_ARGUMENT);
  *eventTypes = SUPPORTED_EVENTS;
  return finish(SUCCESS);
}

nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t device, unsigned long long eventTypes, nvmlEventSet_t set) {
  DEVICE_CALL(NO_FLAGS);
  if (!is_event_set(set)) return finish(INVALID_ARGUMENT);
  if (eventTypes & ~SUPPORTED_EVENTS) return finish(NOT_SUPPORTED);
  unsigned int at = 0;
  while (at < set->board_count && set->boards[at].device != device) at++;
  if (at == sizeof set->boards / sizeof *set->boards) return finish(MEMORY);
  if (at == set->board_count) set->boards[set->board_count++].device = device;
  set->boards[at].types |= eventTypes;
  return finish(SUCCESS);
}

/* The next event for this set, if there is one. */
static int take_event(struct event_set *set, nvmlEventData_t *data) {
  EACH(event, member(host, "events")) {
    const unsigned long long id = whole_of(member(event, "id"));
    const char *uuid = text_of(member(event, "board"));
    unsigned int at = 0, seen = 0;
    while (seen < set->delivered_count && set->delivered[seen] != id) seen++;
    if (uuid == NULL || seen < set->delivered_count || seen == sizeof set->delivered / sizeof *set->delivered) continue;
    while (at < set->board_count && strcmp(set->boards[at].device->uuid, uuid) != 0) at++;
    if (at == set->board_count || !(set->boards[at].types & EVENT_XID)) continue;
    set->delivered[set->delivered_count++] = id;
    *data = (nvmlEventData_t){
        .device = set->boards[at].device,
        .eventType = EVENT_XID,
        .eventData = whole_of(member(event, "xid")),
        .gpuInstanceId = unsigned_or(member(event, "gpuInstanceId"), NO_INSTANCE),
        .computeInstanceId = unsigned_or(member(event, "computeInstanceId"), NO_INSTANCE),
    };
    return 1;
  }
  return 0;
}

static int has_lost_board(const struct event_set *set) {
  for (unsigned int at = 0; at < set->board_count; at++) {
    struct call call;
    find_board(&call, set->boards[at].device->uuid);
    if (call.board == NULL || is_true(member(call.board, "lost"))) return 1;
  }
  return 0;
}

nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t set, nvmlEventData_t *data, unsigned int timeoutms) {
  SYSTEM_CALL();
  const double since = monotonic_seconds();
  for (;;) {
    if (data == NULL || !is_event_set(set)) return finish(INVALID_ARGUMENT);
    if (take_event(set, data)) return finish(SUCCESS);
    if (has_lost_board(set)) return finish(GPU_IS_LOST);
    if ((monotonic_seconds() - since) * 1000 >= timeoutms) return finish(TIMEOUT);
    pthread_mutex_unlock(&lock);
    pause_milliseconds(timeoutms < 5 ? 1 : 5);
    pthread_mutex_lock(&lock);
    refresh();
  }
}

/* ---- MIG -------------------------------------------------------------------------------------------------------- */

nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned int *currentMode, unsigned int *pendingMode) {
  DEVICE_CALL(NO_FLAGS);
  const struct json *enabled = AT(call.board, "mig", "enabled"), *pending = AT(call.board, "mig", "pending");
  const nvmlReturn_t code = give_unsigned(enabled, currentMode);
  return finish(code != SUCCESS ? code : give_unsigned(pending == NULL ? enabled : pending, pendingMode));
}

static unsigned int most_mig_devices(const struct call *call) {
  const struct json *mig = member(call->board, "mig");
  return mig == NULL ? 0 : unsigned_or(member(mig, "maximumDevices"), 7);
}

/* Zero, not an error, where there is no MIG. */
nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t device, unsigned int *count) {
  DEVICE_CALL(NO_FLAGS);
  if (count == NULL) return finish(INVALID_ARGUMENT);
  *count = most_mig_devices(&call);
  return finish(SUCCESS);
}

nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t device, unsigned int index, nvmlDevice_t *migDevice) {
  DEVICE_CALL(NO_FLAGS);
  if (member(call.board, "mig") == NULL) return finish(NOT_SUPPORTED);
  if (migDevice == NULL || index >= most_mig_devices(&call)) return finish(INVALID_ARGUMENT);
  unsigned int place = 0;
  if (is_true(AT(call.board, "mig", "enabled")))
    EACH(one, AT(call.board, "mig", "devices")) {
      const char *uuid = text_of(member(one, "uuid"));
      if (unsigned_or(member(one, "index"), place++) != index || uuid == NULL) continue;
      *migDevice = slot_for(uuid);
      return finish(*migDevice == NULL ? MEMORY : SUCCESS);
    }
  return finish(NOT_FOUND);
}

nvmlReturn_t nvmlDeviceGetGpuInstanceId(nvmlDevice_t device, unsigned int *id) {
  DEVICE_CALL(ON_MIG_ONLY);
  return finish(give_unsigned(member(call.mig, "gpuInstanceId"), id));
}

nvmlReturn_t nvmlDeviceGetComputeInstanceId(nvmlDevice_t device, unsigned int *id) {
  DEVICE_CALL(ON_MIG_ONLY);
  return finish(give_unsigned(member(call.mig, "computeInstanceId"), id));
}

nvmlReturn_t nvmlDeviceGetDeviceHandleFromMigDeviceHandle(nvmlDevice_t migDevice, nvmlDevice_t *device) {
  struct call call;
  STARTED(begin_device(&call, __func__, migDevice, ON_MIG_ONLY));
  const char *uuid = text_of(member(call.board, "uuid"));
  if (device == NULL || uuid == NULL) return finish(INVALID_ARGUMENT);
  *device = slot_for(uuid);
  return finish(*device == NULL ? MEMORY : SUCCESS);
}

nvmlReturn_t nvmlDeviceGetAttributes_v2(nvmlDevice_t device, nvmlDeviceAttributes_t *attributes) {
  DEVICE_CALL(ON_MIG_ONLY);
  if (attributes == NULL) return finish(INVALID_ARGUMENT);
  *attributes = (nvmlDeviceAttributes_t){
      .multiprocessorCount = unsigned_of(member(call.mig, "multiprocessors")),
      .gpuInstanceSliceCount = unsigned_of(member(call.mig, "gpuInstanceSlices")),
      .computeInstanceSliceCount = unsigned_of(member(call.mig, "computeInstanceSlices")),
      .memorySizeMB = whole_of(AT(call.mig, "memory", "totalBytes")) >> 20,
  };
  return finish(SUCCESS);
}

/* ---- GPM: metrics between two samples; here the present values of the board -------------------------------------- */

struct gpm_sample {
  struct gpm_sample *next;
  unsigned int gpuInstanceId;
  nvmlDevice_t device; /* NULL until it is taken. */
};
static struct gpm_sample *gpm_samples;
static const unsigned int GPM_VERSION = 1;

static int is_gpm_sample(const struct gpm_sample *sample) {
  for (const struct gpm_sample *at = gpm_samples; at != NULL; at = at->next)
    if (at == sample) return 1;
  return 0;
}

/* What the board, or its MIG instance, has; NULL where it has none. */
static const struct json *gpm_of(const struct json *board, unsigned int gpuInstanceId) {
  if (gpuInstanceId == NO_INSTANCE) return member(board, "gpm");
  EACH(device, AT(board, "mig", "devices"))
      if (unsigned_of(member(device, "gpuInstanceId")) == gpuInstanceId) return member(device, "gpm");
  return NULL;
}

nvmlReturn_t nvmlGpmQueryDeviceSupport(nvmlDevice_t device, nvmlGpmSupport_t *gpmSupport) {
  DEVICE_CALL(NO_FLAGS);
  if (gpmSupport == NULL) return finish(INVALID_ARGUMENT);
  if (!takes_version(&call, gpmSupport->version, GPM_VERSION)) return finish(ARGUMENT_VERSION_MISMATCH);
  gpmSupport->isSupportedDevice = member(call.board, "gpm") != NULL;
  EACH(one, AT(call.board, "mig", "devices")) gpmSupport->isSupportedDevice |= member(one, "gpm") != NULL;
  return finish(SUCCESS);
}

nvmlReturn_t nvmlGpmSampleAlloc(nvmlGpmSample_t *gpmSample) {
  SYSTEM_CALL();
  if (gpmSample == NULL) return finish(INVALID_ARGUMENT);
  struct gpm_sample *made = calloc(1, sizeof *made);
  if (made == NULL) return finish(MEMORY);
  made->next = gpm_samples;
  gpm_samples = made;
  *gpmSample = made;
  return finish(SUCCESS);
}

nvmlReturn_t nvmlGpmSampleFree(nvmlGpmSample_t gpmSample) {
  SYSTEM_CALL();
  for (struct gpm_sample **at = &gpm_samples; *at != NULL; at = &(*at)->next)
    if (*at == gpmSample) {
      *at = gpmSample->next;
      free(gpmSample);
      return finish(SUCCESS);
    }
  return finish(INVALID_ARGUMENT);
}

static nvmlReturn_t take_sample(const struct call *call, nvmlGpmSample_t sample, unsigned int gpuInstanceId) {
  if (!is_gpm_sample(sample)) return INVALID_ARGUMENT;
  if (gpm_of(call->board, gpuInstanceId) == NULL) return NOT_SUPPORTED;
  sample->device = call->device;
  sample->gpuInstanceId = gpuInstanceId;
  return SUCCESS;
}

nvmlReturn_t nvmlGpmSampleGet(nvmlDevice_t device, nvmlGpmSample_t gpmSample) {
  DEVICE_CALL(NO_FLAGS);
  return finish(take_sample(&call, gpmSample, NO_INSTANCE));
}

nvmlReturn_t nvmlGpmMigSampleGet(nvmlDevice_t device, unsigned int gpuInstanceId, nvmlGpmSample_t gpmSample) {
  DEVICE_CALL(NO_FLAGS);
  return finish(take_sample(&call, gpmSample, gpuInstanceId));
}

nvmlReturn_t nvmlGpmMetricsGet(nvmlGpmMetricsGet_t *metricsGet) {
  struct call call;
  STARTED(begin(&call, __func__));
  if (metricsGet == NULL || metricsGet->numMetrics > MOST_GPM_METRICS) return finish(INVALID_ARGUMENT);
  if (!takes_version(&call, metricsGet->version, GPM_VERSION)) return finish(ARGUMENT_VERSION_MISMATCH);
  const struct gpm_sample *first = metricsGet->sample1, *second = metricsGet->sample2;
  if (!is_gpm_sample(first) || !is_gpm_sample(second) || first == second || second->device == NULL ||
      first->device != second->device || first->gpuInstanceId != second->gpuInstanceId)
    return finish(INVALID_ARGUMENT);
  call.device = second->device;
  const nvmlReturn_t code = admit(&call, NO_FLAGS);
  if (code != SUCCESS) return finish(code);
  const struct json *gpm = gpm_of(call.board, second->gpuInstanceId);
  for (unsigned int at = 0; at < metricsGet->numMetrics; at++) {
    nvmlGpmMetric_t *metric = &metricsGet->metrics[at];
    char name[16];
    snprintf(name, sizeof name, "%u", metric->metricId);
    const struct json *value = member(gpm, name);
    metric->nvmlReturn = value == NULL ? NOT_SUPPORTED : SUCCESS;
    metric->value = number_of(value);
  }
  return finish(SUCCESS);
}
