/* A libnvidia-ml.so.1 for tests: the part of NVML that svcd calls, answering from box.txt beside this library.
 *
 * box.txt is written by box.py from a TOML description. It is read at nvmlInit, so a box can change between two readings.
 * Layouts and numbers are those of nvml.h, as pynvml declares them. One word per field, a name takes the rest of its line:
 *
 *     driver VERSION        init CODE        hang SECONDS
 *     gpu INDEX UUID BUS TOTAL USED NUMA MIG ERROR NAME...
 *     nvlink INDEX BUS      one per link: the bus id at its other end, a GPU's or a switch's
 *     p2p INDEX INDEX       the two reach each other over NVLink
 *     process INDEX PID BYTES
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID = 2, NOT_SUPPORTED = 3, TOO_SMALL = 7, UNKNOWN = 999 };
enum { MOST_GPUS = 32, MOST_LINKS = 36, MOST_PROCESSES = 64, P2P_NVLINK = 2, P2P_NOT_SUPPORTED = 5 };

typedef struct { unsigned pid; unsigned long long bytes; unsigned gpu_instance, compute_instance; } Process;
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct {
    char legacy_bus[16];
    unsigned domain, bus, device, device_id, subsystem_id;
    char bus_id[32];
} Pci;
typedef struct {
    char uuid[96], name[96], bus[32], links[MOST_LINKS][32];
    unsigned long long total, used;
    int numa, mig, error, link_count, process_count, p2p[MOST_GPUS];
    Process processes[MOST_PROCESSES];
} Gpu;

static struct { char driver[80]; int gpu_count, ready; Gpu gpus[MOST_GPUS]; } box;

static Gpu *at(int index) {
    if (index < 0 || index >= MOST_GPUS) {
        fprintf(stderr, "fakenvml: no GPU can have index %d\n", index);
        abort();
    }
    return &box.gpus[index];
}

static int read_line(const char *line) {
    int index, other, seconds, code;
    unsigned pid;
    unsigned long long bytes;
    char bus[32];
    Gpu gpu = {0};
    if (sscanf(line, "driver %79s", box.driver) == 1) return SUCCESS;
    if (sscanf(line, "init %d", &code) == 1) return code;
    if (sscanf(line, "hang %d", &seconds) == 1) {
        sleep(seconds);
        return SUCCESS;
    }
    if (sscanf(line, "gpu %d %95s %31s %llu %llu %d %d %d %95[^\n]", &index, gpu.uuid, gpu.bus, &gpu.total, &gpu.used,
               &gpu.numa, &gpu.mig, &gpu.error, gpu.name) == 9) {
        *at(index) = gpu;
        box.gpu_count++;
        return SUCCESS;
    }
    if (sscanf(line, "nvlink %d %31s", &index, bus) == 2 && at(index)->link_count < MOST_LINKS) {
        strcpy(at(index)->links[at(index)->link_count++], bus);
        return SUCCESS;
    }
    if (sscanf(line, "p2p %d %d", &index, &other) == 2) {
        at(index)->p2p[other % MOST_GPUS] = 1;
        return SUCCESS;
    }
    if (sscanf(line, "process %d %u %llu", &index, &pid, &bytes) == 3 && at(index)->process_count < MOST_PROCESSES) {
        at(index)->processes[at(index)->process_count++] = (Process){pid, bytes, ~0u, ~0u};
        return SUCCESS;
    }
    fprintf(stderr, "fakenvml: cannot read this line of box.txt: %s", line);
    return UNKNOWN;
}

int nvmlInitWithFlags(unsigned flags) {
    Dl_info here;
    char path[4096], line[512];
    int code = SUCCESS;
    (void)flags;
    if (!dladdr((void *)nvmlInitWithFlags, &here)) return UNKNOWN;
    snprintf(path, sizeof path, "%s", here.dli_fname);
    snprintf(strrchr(path, '/') + 1, 8, "box.txt");
    FILE *file = fopen(path, "r");
    if (!file) return UNKNOWN;
    memset(&box, 0, sizeof box);
    while (code == SUCCESS && fgets(line, sizeof line, file)) code = read_line(line);
    fclose(file);
    box.ready = code == SUCCESS;
    return code;
}

int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

int nvmlShutdown(void) {
    box.ready = 0;
    return SUCCESS;
}

const char *nvmlErrorString(int code) {
    (void)code;
    return "an error of the test box";
}

int nvmlSystemGetDriverVersion(char *text, unsigned size) {
    if (!box.ready) return UNINITIALIZED;
    snprintf(text, size, "%s", box.driver);
    return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    if (!box.ready) return UNINITIALIZED;
    *count = box.gpu_count;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Gpu **gpu) {
    if (!box.ready) return UNINITIALIZED;
    if (index >= (unsigned)box.gpu_count) return INVALID;
    *gpu = &box.gpus[index];
    return (*gpu)->error;
}

int nvmlDeviceGetUUID(Gpu *gpu, char *text, unsigned size) {
    snprintf(text, size, "%s", gpu->uuid);
    return SUCCESS;
}

int nvmlDeviceGetName(Gpu *gpu, char *text, unsigned size) {
    snprintf(text, size, "%s", gpu->name);
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(Gpu *gpu, Memory *memory) {
    *memory = (Memory){gpu->total, gpu->total - gpu->used, gpu->used};
    return SUCCESS;
}

static int pci(const char *bus, Pci *info) {
    memset(info, 0, sizeof *info);
    snprintf(info->bus_id, sizeof info->bus_id, "%s", bus);
    sscanf(bus, "%x:%x:%x", &info->domain, &info->bus, &info->device);
    return SUCCESS;
}

int nvmlDeviceGetPciInfo_v3(Gpu *gpu, Pci *info) { return pci(gpu->bus, info); }

int nvmlDeviceGetMigMode(Gpu *gpu, unsigned *current, unsigned *pending) {
    if (gpu->mig < 0) return NOT_SUPPORTED;
    *current = *pending = gpu->mig;
    return SUCCESS;
}

int nvmlDeviceGetMemoryAffinity(Gpu *gpu, unsigned words, unsigned long *nodes, unsigned scope) {
    (void)scope;
    if (gpu->numa < 0) return NOT_SUPPORTED;
    if ((unsigned)gpu->numa >= words * 64) return INVALID;
    memset(nodes, 0, words * sizeof *nodes);
    nodes[gpu->numa / 64] = 1ul << (gpu->numa % 64);
    return SUCCESS;
}

int nvmlDeviceGetNvLinkState(Gpu *gpu, unsigned link, unsigned *active) {
    if (link >= MOST_LINKS) return INVALID;
    if (!gpu->link_count) return NOT_SUPPORTED;
    *active = link < (unsigned)gpu->link_count;
    return SUCCESS;
}

int nvmlDeviceGetNvLinkRemotePciInfo_v2(Gpu *gpu, unsigned link, Pci *info) {
    if (link >= (unsigned)gpu->link_count) return INVALID;
    return pci(gpu->links[link], info);
}

int nvmlDeviceGetP2PStatus(Gpu *one, Gpu *other, unsigned kind, unsigned *status) {
    if (kind != P2P_NVLINK) return NOT_SUPPORTED;
    *status = one->p2p[other - box.gpus] ? SUCCESS : P2P_NOT_SUPPORTED;
    return SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(Gpu *gpu, unsigned *count, Process *processes) {
    unsigned room = *count;
    *count = gpu->process_count;
    if (room < *count) return TOO_SMALL;
    if (*count) memcpy(processes, gpu->processes, *count * sizeof *processes);
    return SUCCESS;
}
