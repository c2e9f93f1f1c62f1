"""Names that columns have in files of English and Chinese speakers, by what they hold; the likeliest first."""

from hanlin.records.columns import plain_name

# fmt: off
TEXT = (
    "text", "sentence", "content", "review", "comment", "tweet", "document", "message", "post", "title",
    "headline", "utterance", "query", "question", "text_a", "sentence1", "full_text", "claim", "abstract",
    "abst", "article", "body", "input", "prompt", "description", "文本", "句子", "内容", "正文", "评论", "评价", "标题",
    "问题", "文章", "语句", "微博", "短信", "弹幕",
)
PAIRS = (
    ("sentence1", "sentence2"), ("sentence_A", "sentence_B"), ("text_a", "text_b"), ("texta", "textb"),
    ("text1", "text2"), ("text", "pair"), ("premise", "hypothesis"), ("question1", "question2"), ("query1", "query2"),
    ("q1", "q2"), ("s1", "s2"), ("#1 String", "#2 String"), ("string1", "string2"), ("first", "second"),
    ("question", "sentence"), ("query", "title"), ("query", "passage"), ("query", "document"), ("query", "doc"),
    ("query", "text"), ("qtext", "atext"), ("question", "passage"), ("question", "answer"), ("anchor", "positive"),
    ("claim", "evidence"), ("headline", "body"), ("abst", "keyword"), ("source", "reply"),
    ("句子1", "句子2"), ("文本1", "文本2"), ("问题1", "问题2"), ("句子一", "句子二"), ("文本一", "文本二"), ("前提", "假设"),
    ("问句1", "问句2"), ("查询", "文档"), ("问题", "候选"),
)
LABEL = (
    "label", "labels", "class", "category", "target", "gold_label", "sentiment", "polarity", "intent",
    "emotion", "topic", "quality", "is_duplicate", "entailment_judgment", "judgment", "label_coarse",
    "is_toxic", "toxic", "evidence_label", "label_text", "label_name", "label_desc", "lang", "language",
    "categories", "topics", "tags", "emotions", "genre", "stars", "rating", "spam", "type", "tag", "y",
    "answer", "标签", "类别", "分类", "类目", "类型", "情感", "情感倾向", "意图", "意图标签", "话题", "主题", "情绪", "极性",
)
PLURAL_LABELS = frozenset(
    map(
        plain_name,
        ("labels", "tags", "categories", "topics", "emotions", "intents", "keywords", "多标签", "标签列表"),
    )
)
"""Columns whose texts hold several labels with separators between."""
SCORE = (
    "score", "similarity", "similarity_score", "relatedness_score", "relatedness", "label", "rating",
    "stars", "grade", "value", "target", "y", "分数", "得分", "评分", "相似度", "打分", "标签",
)
WORDS = (
    "words", "tokens", "token", "word", "chars", "characters", "text", "sentence", "full_text", "词", "字",
    "词语", "分词", "文本", "句子",
)
TAGS = (
    "tags", "ner_tags", "ner", "labels", "label", "bio", "tag", "pos_tags", "pos", "upos", "spans",
    "entities", "标签", "标注", "词性", "实体标签",
)
SOURCE_TARGET = (
    ("source", "target"), ("source", "targets"), ("src", "tgt"), ("src", "tgr"), ("src", "trg"), ("src", "ref"), ("source", "reference"),
    ("article", "highlights"), ("article", "summary"), ("article", "title"), ("document", "summary"),
    ("dialogue", "summary"), ("dialogue", "summary1"), ("abstract", "title"), ("abst", "title"),
    ("abstract", "keywords"), ("text", "summary"), ("content", "summary"), ("content", "title"), ("body", "title"),
    ("text", "title"), ("classical", "modern"), ("original", "paraphrase"), ("instruction", "output"), ("input", "output"), ("input", "target"),
    ("informal", "formal"), ("question", "answer"), ("prompt", "response"), ("原文", "译文"), ("正文", "摘要"), ("文章", "摘要"),
    ("内容", "摘要"), ("正文", "标题"), ("文章", "标题"), ("摘要", "标题"), ("文言文", "白话文"), ("古文", "现代文"), ("英文", "中文"),
    ("原句", "改写"), ("输入", "输出"), ("问题", "答案"),
)
LANGUAGES = (
    "en", "zh", "de", "fr", "es", "ja", "ko", "ru", "it", "pt", "nl", "cs", "ar", "tr", "vi", "hi", "ro",
    "uk", "pl", "fi", "sv", "english", "chinese", "german", "french", "spanish", "japanese", "korean",
    "russian", "eng", "cmn", "zho", "deu", "fra", "中文", "英文", "日文", "德文", "法文",
)
QUESTION = (
    "question", "query", "question stem", "stem", "goal", "problem", "ctx", "prompt", "q", "qtext", "问题",
    "题目", "题干", "提问", "content", "sentence", "input",
)
CONTEXT = (
    "context", "passage", "paragraph", "background", "document", "article", "content", "support", "fact1",
    "上下文", "文章", "段落", "材料", "背景", "篇章",
)
CHOICES = (
    "choices", "options", "candidates", "endings", "answer_choices", "target_scores", "选项", "候选", "备选",
)
CHOICE_COLUMNS = (
    ("A", "B", "C", "D", "E", "F", "G"), ("choice_A", "choice_B", "choice_C", "choice_D", "choice_E"),
    ("option_A", "option_B", "option_C", "option_D", "option_E"), ("option1", "option2", "option3", "option4"),
    ("choice1", "choice2", "choice3", "choice4"), ("sol1", "sol2"), ("ans0", "ans1", "ans2", "ans3"),
    ("ending0", "ending1", "ending2", "ending3"), ("选项A", "选项B", "选项C", "选项D", "选项E"),
)
RIGHT = (
    "answer", "answerKey", "answer key", "label", "gold", "correct", "target", "correct_answer", "right",
    "答案", "正确答案", "标签",
)
ANSWERS = (
    "answers", "answer", "correct answers", "best answer", "std_answer", "output", "target", "response",
    "atext", "答案", "回答", "参考答案", "标准答案",
)
STARTS = ("answer_start", "starts", "start", "答案位置")
QUERY = (
    "query", "anchor", "question", "qtext", "claim", "source", "sentence1", "text_a", "text1", "premise",
    "q1", "查询", "问题", "问句", "句子1", "文本1",
)
FOUND = (
    "found", "positive", "positives", "pos", "positive_passages", "passage", "document", "title", "answer",
    "atext", "sentence2", "text_b", "text2", "hypothesis", "q2", "target", "context", "正例", "答案", "文档",
    "句子2", "文本2", "回答",
)
NEGATIVES = (
    "hard_negatives", "negatives", "negative", "neg", "hard_negative", "negative_passages", "负例", "难负例",
)
MESSAGES = (
    "messages", "conversations", "conversation", "turns", "dialogue", "dialog", "utterances", "对话", "消息",
    "多轮对话",
)
INSTRUCTION = ("instruction", "prompt", "question", "query", "user", "human", "指令", "问题", "提问", "用户")
INPUT = ("input", "context", "输入")
OUTPUT = (
    "output", "response", "completion", "answer", "std_answer", "assistant", "chosen", "reply", "输出", "回答",
    "答案", "回复",
)
SPANS = ("spans", "entities", "entity", "label", "labels", "实体", "标注", "实体列表")
RELATIONS = ("relations", "spo_list", "triples", "triple_list", "关系", "三元组")
EVENTS = ("event_list", "events", "事件", "事件列表")

KNOWN_NAMES = frozenset(
    plain_name(name)
    for names in (
        TEXT, LABEL, SCORE, WORDS, TAGS, LANGUAGES, QUESTION, CONTEXT, CHOICES, RIGHT, ANSWERS, STARTS, QUERY, FOUND,
        NEGATIVES, MESSAGES, INSTRUCTION, INPUT, OUTPUT, SPANS, RELATIONS, EVENTS, *PAIRS, *SOURCE_TARGET,
        *CHOICE_COLUMNS, ("query-id", "corpus-id"),
    )
    for name in names
    if len(name) > 1
)
"""What shows that the first row of a table is its header."""
