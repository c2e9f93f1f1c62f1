"""What a student needs of its teacher: the same tokens, the same labels, and a way between widths."""

from torch import nn

from hanlin.base.errors import ConfigError
from hanlin.base.language import Text
from hanlin.model.headed import Headed
from hanlin.model.heads import OVER_VOCABULARY
from hanlin.objective.judged import headed
from hanlin.tokenizer.tokenizer import Tokenizer


class Student(nn.Module):
    """A student with the layer from its width to the teacher's, which is trained along; what is saved is `model`."""

    def __init__(self, model: Headed, teacher: Headed) -> None:
        super().__init__()
        self.model = model
        device = next(model.parameters()).device
        self.projection = nn.Linear(model.config.width, teacher.config.width, bias=False, device=device)


def student_of(model: nn.Module) -> tuple[Headed, nn.Linear | None]:
    """The language model that is the student, and its layer to the teacher's width if it has one."""
    student, projection = (model.model, model.projection) if isinstance(model, Student) else (model, None)
    return headed(student, *OVER_VOCABULARY), projection


def check_same_vocabulary(student: Tokenizer, teacher: Tokenizer) -> None:
    """Raise `ConfigError` unless the two give every text the same ids."""
    if student.fingerprint != teacher.fingerprint:
        raise ConfigError(
            Text("Student and teacher have different tokenizers, so that their predictions cannot be compared.",
                 "学生与教师的分词器不同，二者的预测无法比较。"),
            Text("Give the student the teacher's tokenizer.", "请让学生使用教师的分词器。"),
        )  # fmt: skip


def check_same_size(student: Headed, teacher: Headed) -> None:
    """Raise `ConfigError` for vocabularies of different sizes."""
    sizes = student.config.vocab_size, teacher.config.vocab_size
    if sizes[0] != sizes[1]:
        raise ConfigError(
            Text(f"The student has {sizes[0]} tokens and the teacher {sizes[1]}.",
                 f"学生的词表有 {sizes[0]} 个词元，教师有 {sizes[1]} 个。"),
            Text("Give the student the teacher's tokenizer.", "请让学生使用教师的分词器。"),
        )  # fmt: skip


def check_same_width(student: Headed, teacher: Headed) -> None:
    """Raise `ConfigError` for hidden states that cannot be held against each other."""
    widths = student.config.width, teacher.config.width
    if widths[0] != widths[1]:
        raise ConfigError(
            Text(f"Hidden states of width {widths[0]} cannot be held against the teacher's of {widths[1]}.",
                 f"宽度为 {widths[0]} 的隐藏状态无法与教师宽度为 {widths[1]} 的比较。"),
            Text("Train `Student(student, teacher)`, or leave hidden states out.",
                 "请训练 `Student(student, teacher)`，或不比较隐藏状态。"),
        )  # fmt: skip


def check_same_labels(student: int, teacher: int) -> None:
    """Raise `ConfigError` for different numbers of labels."""
    if student != teacher:
        raise ConfigError(
            Text(f"The student has {student} labels and the teacher {teacher}.",
                 f"学生有 {student} 个标签，教师有 {teacher} 个。"),
            Text("Give both the same labels.", "请让二者使用相同的标签。"),
        )  # fmt: skip
