from .carried import CarriesTeacher
from .frozen_classifier import FrozenClassifier
from .frozen_teacher import FrozenTeacher
from .relation_teacher import RelationTeacher

__all__ = ['CarriesTeacher', 'FrozenClassifier', 'FrozenTeacher', 'RelationTeacher']
