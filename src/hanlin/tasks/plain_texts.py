"""A few plain texts of our own in English and Chinese, which have nothing to do with any task: what forgetting is seen by."""

from hanlin.base.language import Text

_ENGLISH = (
    "The ferry left the harbour a little after six, when the fog had thinned enough to see the second buoy. Most of the "
    "passengers stayed below, where it was warm and somebody was handing round tea.",
    "Bread needs four things: flour, water, salt and time. A cold kitchen only makes the last of them longer.",
    "If a number is divisible by three, so is the sum of its digits, because ten leaves a remainder of one when it is "
    "divided by three, and so does every power of ten.",
    "Her grandfather had repaired clocks all his life. He used to say that a clock which runs fast is no better than one "
    "which has stopped, and that the second is at least right twice a day.",
    "Rivers carry sand and mud down to the sea. Where the water slows, it lets them fall, and over thousands of years the "
    "land grows outwards in the shape of a fan.",
    "The council will meet on the first Tuesday of each month. Members who cannot come should tell the secretary at least "
    "two days before, so that somebody else can be asked.",
    "Leaves are green because they take in red and blue light and send the rest back. In autumn the green breaks down "
    "first, and the yellow that was there all along can be seen.",
    "They walked for an hour without meeting anyone. Then the path turned, and below them lay the whole valley, with a "
    "white road running through it like a chalk line.",
)

_CHINESE = (
    "渡船在六点多离开了码头，那时雾已经散了一些，可以看见第二个浮标。大多数乘客待在舱里，那里暖和，还有人在分热茶。",
    "做面包只需要四样东西：面粉、水、盐和时间。厨房冷，不过是把最后一样拉长一些罢了。",
    "一个数如果能被三整除，它各位数字之和也能被三整除，因为十除以三余一，十的任何次方除以三也都余一。",
    "她的祖父修了一辈子的钟。他常说，走得快的钟并不比停了的钟好，停了的钟一天至少还准两回。",
    "河流把泥沙带向大海。水流变慢的地方，泥沙就沉下来，几千年过去，陆地便像一把扇子那样向外伸展。",
    "委员会在每月的第一个星期二开会。不能到会的委员，请至少提前两天告知秘书，以便另请他人。",
    "叶子是绿色的，因为它吸收红光和蓝光，而把其余的光反射回来。到了秋天，绿色最先分解，一直都在的黄色就显露出来。",
    "他们走了一个小时，没有遇见一个人。后来路拐了个弯，整个山谷就在脚下，一条白色的路像粉笔线一样从中穿过。",
)

PLAIN_TEXTS: dict[Text, tuple[str, ...]] = {
    Text("English sample", "英文样本"): _ENGLISH,
    Text("Chinese sample", "中文样本"): _CHINESE,
}
"""By what they are called."""
