#!/usr/bin/python3
"""Renders lines of text as a text recogniser of PaddleOCR takes them.

    make-lines.py TEXT COUNT SEED OUT.npz

writes an array x of float32 [COUNT 3 48 320], normalised as (x/255 - .5)/.5,
shorter lines filled up with 0. Latin lines are runs of words of the file TEXT,
about a third is Chinese (common characters at random), the rest numbers, dates
and prices.
Needs Debian's python3-pil, python3-numpy, fonts-dejavu-core and
fonts-droid-fallback. The same arguments give the same lines.
"""
import glob
import random
import sys

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

HEIGHT, WIDTH = 48, 320
LATIN = sorted(glob.glob("/usr/share/fonts/truetype/dejavu/DejaVu*.ttf"))
HAN = "/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf"
HANZI = (
    "一万三上下不两中举乌乡书云人但低住何依借光入几别到前千午半南去发只君响啼国土在地"
    "城声处复外多夜天头姑子孤客家寒对寺少尽层山岸已师帝床当彩径心思恨惊愁感愿抵指搔撷"
    "故断日时明春是晓景更最月有望朝木杏村来松林枝枫楼欲此汗江河泪流浑海深清渔溅满滴火"
    "灭烽照牧物独猿生疑白皆盘目相眠知短破禾穷空童笠簪粒红纷绝翁胜舟船节花苏苔苦草药落"
    "蓑行见觉言语谁豆路踪轻辛辞过返还连遥酒采里重金钓钟锄问间闻陵雨雪霜青风飞餐魂鸟黄"
)


def line(rng, words):
    kind = rng.random()
    if kind < 0.35:
        return "".join(rng.choices(HANZI, k=rng.randint(3, 9))), HAN
    if kind < 0.5:
        forms = (
            f"{rng.randint(1, 28):02d}.{rng.randint(1, 12):02d}.{rng.randint(1950, 2049)}",
            f"{rng.randint(1, 9999)},{rng.randint(0, 99):02d} EUR",
            f"No. {rng.randint(10000, 9999999)}",
            f"+{rng.randint(1, 99)} {rng.randint(100, 999)} {rng.randint(100000, 999999)}",
            f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}  {rng.randint(1, 100)}%",
        )
        return rng.choice(forms), rng.choice(LATIN)
    at = rng.randrange(len(words) - 6)
    return " ".join(words[at : at + rng.randint(1, 4)])[:28], rng.choice(LATIN)


def render(rng, noise, words):
    text, face = line(rng, words)
    size = rng.randint(24, 36)
    while True:
        font = ImageFont.truetype(face, size)
        left, top, right, bottom = font.getbbox(text)
        if right - left <= WIDTH - 12 or size <= 12:
            break
        size -= 2
    width = min(WIDTH, right - left + rng.randint(6, 16))
    back = [rng.randint(170, 255) for _ in range(3)]
    ink = [rng.randint(0, 90) for _ in range(3)]
    if rng.random() < 0.25:
        back, ink = ink, back
    image = Image.new("RGB", (width, HEIGHT), tuple(back))
    at = (rng.randint(2, 5) - left, (HEIGHT - (bottom - top)) // 2 - top + rng.randint(-2, 2))
    ImageDraw.Draw(image).text(at, text, font=font, fill=tuple(ink))
    if rng.random() < 0.5:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.9)))
    x = np.asarray(image, np.float32) + noise.normal(0, rng.uniform(0, 8), (HEIGHT, width, 3))
    out = np.zeros((3, HEIGHT, WIDTH), np.float32)
    out[:, :, :width] = ((np.clip(x, 0, 255) / 255 - 0.5) / 0.5).transpose(2, 0, 1)
    return out


def main():
    text, count, seed, out = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    with open(text, encoding="utf-8") as f:
        words = [w for w in f.read().split() if w.isascii()]
    rng, noise = random.Random(seed), np.random.default_rng(seed)
    np.savez(out, x=np.stack([render(rng, noise, words) for _ in range(count)]))


if __name__ == "__main__":
    main()
