"""Changes of Chinese text: characters that sound alike, the other script, the other width."""

import re
from collections.abc import Callable
from functools import cache
from random import Random

from hanlin.base.errors import MissingExtra
from hanlin.base.language import Text

SHARE = 0.15
"""Of the characters that have a common homophone, so many are replaced."""

_GROUPS = """
在再 做作坐座 是事市式室世试视 他她它 像象向 以已 和合河何 又右 为位未味卫 时十食石实 会慧惠 公工功攻 心新欣薪 长常尝 名明鸣
文闻 家加佳 园圆原员源 近进尽 经京精惊 机鸡积激基击 音因阴 清青轻 情晴 题提 理里礼李 历力利立丽 气汽弃 话化画 生声升
成城程诚 望忘 由油游邮 义意易艺议 店电殿 点典 服福符 务物误悟 带代待袋 度渡杜 书输叔舒 数树述 住注助祝 知之支枝 只纸指止
制治质志 被备贝 件见建健剑 间坚肩 行型形 性姓幸 受瘦寿售 手守首 线现县献 先鲜仙 想响享 块快筷 路录鹿陆 师诗失 使始史 完玩
晚碗 院愿 月越阅 早枣澡 张章 真针珍 中钟终 主煮 自字 子紫 钱前 亲侵 求球 去趣 全权泉 然燃 认任 社设射涉 身深伸 四寺 所锁索
太态 听厅 同童铜 头投 王亡 无吴 五午武舞 西希息吸 喜洗 系细戏 下夏吓 小晓 校笑效 谢械 休修 需须虚 研言严颜 眼演 阳羊洋
要药耀 也野 业夜叶页 一医衣依 应英鹰 勇永泳 友有 于鱼余娱 雨语羽 遇育玉预 高糕 关官观 管馆 汉汗旱 号浩 红洪宏 后厚候
湖胡糊 护互户 黄皇 火伙 及级极急 记计技季纪寄 架价嫁 将江 交郊 接街阶 节结洁 今金斤 景警井 竟境静净 九酒久 旧救就 句具剧据 决绝
"""
"""Characters with the same syllable and tone in standard Mandarin, those that input methods offer first."""

_ALIKE = {letter: group.replace(letter, "") for group in _GROUPS.split() for letter in group}
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")
_NARROW: dict[int, int | str] = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_NARROW |= {ord("。"): ".", ord("、"): ",", ord("\u3000"): " "}
_WIDE = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}


def homophones(text: str, random: Random) -> str:
    """Some characters replaced by others that sound the same, as input by pinyin does."""
    return "".join(
        random.choice(_ALIKE[letter]) if letter in _ALIKE and random.random() < SHARE else letter
        for letter in text
    )


def other_script(text: str, random: Random) -> str:
    """Simplified characters as traditional ones; a text that has none to change is traditional, and turned round."""
    if not _HAN.search(text):
        return text
    traditional = _converter("s2t")(text)
    return _converter("t2s")(text) if traditional == text else traditional


def other_width(text: str, random: Random) -> str:
    """Full-width letters, digits and marks as half-width ones; in Chinese text without any, the other way round."""
    narrow = text.translate(_NARROW)
    if narrow != text or not _HAN.search(text):
        return narrow
    return text.translate(_WIDE)


@cache
def _converter(direction: str) -> Callable[[str], str]:
    try:
        from opencc import OpenCC
    except ImportError as error:
        raise MissingExtra(
            Text("Turning simplified into traditional characters", "简繁转换"), "zh"
        ) from error
    convert: Callable[[str], str] = OpenCC(direction).convert
    return convert
