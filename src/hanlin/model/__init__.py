"""One Transformer core whose families are settings, and the classical models it is measured against."""
