"""The GAN-trained teacher, then the sharp student, as benchmarks/strategies has them, for longer.

python benchmarks/gpu/gan.py --photos PHOTOS [--sets SETS] [--minutes 5] [--dry-run]
"""

import sys
from argparse import Namespace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import srkd
from benchmarks.common import run_script
from benchmarks.gpu.places import Places, options, timed
from benchmarks.gpu.recipes import base, finish, train_beside, write

TEACHING = 0.4  # of the time
BATCH = 16


def work(arguments: Namespace) -> None:
    places = Places(arguments)
    data = {"data": str(places.prepared("clean")), "batch": BATCH}
    first = write(places, "srgan_teacher_gan_gpu", base("strategies/teacher_gan.yaml"), data)
    teacher = places.work / "srgan_teacher_gan_gpu" / "gan.safetensors"
    student = {"start": "span_s_psnr", "teacher": str(teacher), **data}
    second = write(places, "span_s_gan_gpu", base("strategies/student_gan.yaml"), student)
    shares = [TEACHING, 1 - TEACHING]
    with timed("teacher and student"):
        failed = train_beside(places, {"span_s_gan_gpu": ([first, second], shares)}, places.left / 60 * 0.9)
    folder, between = places.work / "span_s_gan_gpu", places.work / "span_s_gan_gpu" / "between.safetensors"
    if (folder / "finetune.safetensors").is_file() and not between.is_file():
        srkd.interpolate(
            folder / "transfer.safetensors", folder / "finetune.safetensors", alpha=0.5, out=between
        )
    weights = {"srgan_teacher_gan_gpu": teacher, "span_s_gan_gpu": between}
    weights["span_s_gan_gpu_finetune"] = folder / "finetune.safetensors"
    finish(places, "gan", weights, failed)


if __name__ == "__main__":
    run_script(options(__doc__, 5), work)
