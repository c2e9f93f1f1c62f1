"""Small lists to look at vectors with: written for this project, for a quick look and not for comparing papers.

The numbers say how alike the words of a pair are, from 0 (unrelated) to 10 (the same thing).
"""

from hanlin.evaluate.vectors import Analogy, Similarity

SIMILARITIES_EN: tuple[Similarity, ...] = (
    ("begin", "start", 9.5), ("error", "mistake", 9.0), ("file", "document", 7.5), ("list", "tuple", 7.0),
    ("string", "text", 7.5), ("integer", "number", 8.0), ("true", "false", 4.5), ("open", "close", 5.0),
    ("father", "mother", 6.5), ("king", "queen", 7.0), ("car", "truck", 7.5), ("cat", "dog", 6.0),
    ("river", "water", 5.5), ("teacher", "student", 5.0), ("read", "write", 5.5), ("north", "south", 6.0),
    ("small", "large", 4.5), ("month", "year", 6.0), ("doctor", "banana", 0.5), ("list", "river", 0.5),
    ("error", "mother", 0.5), ("king", "integer", 0.3), ("month", "dog", 0.3), ("string", "north", 0.3),
)  # fmt: skip

SIMILARITIES_ZH: tuple[Similarity, ...] = (
    ("开始", "起始", 9.5), ("错误", "差错", 9.0), ("父亲", "母亲", 6.5), ("国王", "王后", 7.0),
    ("汽车", "卡车", 7.5), ("猫", "狗", 6.0), ("江", "河", 8.5), ("老师", "学生", 5.0),
    ("读", "写", 5.5), ("南", "北", 6.0), ("大", "小", 4.5), ("月", "年", 6.0),
    ("酒店", "宾馆", 9.0), ("房间", "客房", 8.5), ("好", "不错", 8.0), ("书", "小说", 7.0),
    ("电脑", "笔记本", 8.0), ("服务", "态度", 5.0), ("医生", "香蕉", 0.5), ("错误", "母亲", 0.5),
    ("国王", "屏幕", 0.3), ("书", "河", 0.5),
)  # fmt: skip

ANALOGIES_EN: tuple[Analogy, ...] = (
    ("man", "king", "woman", "queen"), ("father", "mother", "son", "daughter"), ("he", "his", "she", "her"),
    ("read", "reading", "write", "writing"), ("open", "opened", "close", "closed"),
    ("file", "files", "module", "modules"), ("list", "lists", "string", "strings"),
    ("return", "returns", "raise", "raises"), ("call", "called", "return", "returned"),
    ("small", "smaller", "large", "larger"), ("first", "last", "begin", "end"), ("one", "first", "two", "second"),
)  # fmt: skip

ANALOGIES_ZH: tuple[Analogy, ...] = (
    ("男人", "国王", "女人", "王后"), ("父亲", "母亲", "儿子", "女儿"), ("哥哥", "姐姐", "弟弟", "妹妹"),
    ("中国", "北京", "日本", "东京"), ("大", "小", "高", "低"), ("好", "坏", "快", "慢"),
    ("他", "他们", "我", "我们"), ("老师", "学校", "医生", "医院"),
)  # fmt: skip
