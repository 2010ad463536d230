"""Facts about the software: versions without importing anything, the kind of system, what the user has set."""

import re
from collections.abc import Iterable

from autotune.devices._torch import torch_build
from autotune.machine import Device, Environment, Software
from autotune.reader import Reader

_PACKAGES = ("torch", "onnxruntime", "onnxruntime-gpu", "triton", "optuna", "numpy", "nvidia-ml-py")
_SYSTEMS = {"Darwin": "macos"}
_OVERRIDES = (
    "CUDA_DEVICE_ORDER",
    "CUDA_LAUNCH_BLOCKING",
    "CUDA_VISIBLE_DEVICES",
    "GOMP_CPU_AFFINITY",
    "HIP_VISIBLE_DEVICES",
    "HSA_OVERRIDE_GFX_VERSION",
    "KMP_AFFINITY",
    "KMP_DUPLICATE_LIB_OK",
    "MKL_NUM_THREADS",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_NUM_THREADS",
    "OMP_PROC_BIND",
    "OMP_WAIT_POLICY",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
    "PYTORCH_ENABLE_MPS_FALLBACK",
    "PYTORCH_MPS_HIGH_WATERMARK_RATIO",
    "ROCR_VISIBLE_DEVICES",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
)
_OPENMP = re.compile(r"(lib(gomp|iomp5(md)?|omp|omp140\.\w+)|vcomp\d+)\b.*\.(so|dylib|dll)", re.IGNORECASE)
_VIRTUAL_MAKERS = (
    "amazon ec2",
    "qemu",
    "google",
    "vmware",
    "virtualbox",
    "innotek",
    "xen",
    "kvm",
    "openstack",
    "alibaba",
)


def software(reader: Reader, devices: tuple[Device, ...]) -> Software:
    """devices: those found; the NVIDIA driver's version comes with them."""
    versions = {name: reader.package(name) for name in _PACKAGES}
    drivers = {
        "nvidia": next((device.facts.get("driver") for device in devices if device.kind == "cuda"), None),
        "amdgpu": (reader.text("/sys/module/amdgpu/version") or "").strip() or None,
        "rocm": (reader.text("/opt/rocm/.info/version") or "").strip() or None,
    }
    return Software(
        python=reader.python,
        os=_SYSTEMS.get(reader.system, reader.system.lower()),
        os_version=reader.facts("sysctl").get("kern.osproductversion", reader.release),
        packages={name: version for name, version in versions.items() if version is not None},
        drivers={name: version for name, version in drivers.items() if version},
        torch_build=torch_build(reader),
        openmp=openmp(reader.libraries()),
    )


def openmp(libraries: Iterable[str]) -> tuple[str, ...]:
    """Those of the loaded libraries (paths) that are OpenMP runtimes, each with a pool of threads of its own."""
    return tuple(path for path in libraries if _OPENMP.match(re.split(r"[/\\]", path)[-1]))


def environment(reader: Reader) -> Environment:
    return Environment(
        container=container(reader),
        wsl="microsoft" in (reader.text("/proc/version") or reader.release).lower(),
        wsl_gpu="dxg" in reader.names("/dev"),
        translated=reader.facts("sysctl").get("sysctl.proc_translated") == "1",
        virtual_machine=virtual_machine(reader),
        overrides={name: reader.environment[name] for name in _OVERRIDES if name in reader.environment},
    )


def container(reader: Reader) -> str:
    """The kind of container this process runs in, or ""."""
    if "KUBERNETES_SERVICE_HOST" in reader.environment:
        return "kubernetes"
    if reader.text("/run/.containerenv") is not None:
        return "podman"
    if reader.text("/.dockerenv") is not None:
        return "docker"
    groups = reader.text("/proc/self/cgroup") or ""
    names = (("kubepods", "kubernetes"), ("docker", "docker"), ("libpod", "podman"), ("lxc", "lxc"))
    return next((name for sign, name in names if f"/{sign}" in groups), "")


def virtual_machine(reader: Reader) -> bool:
    if reader.facts("sysctl").get("kern.hv_vmm_present") == "1":
        return True
    flags = re.search(r"^flags\s*:(.*)$", reader.text("/proc/cpuinfo") or "", re.MULTILINE)
    if flags is not None and "hypervisor" in flags.group(1).split():
        return True
    maker = (reader.text("/sys/class/dmi/id/sys_vendor") or "").lower()
    return any(name in maker for name in _VIRTUAL_MAKERS)
