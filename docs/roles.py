"""Griffe extension: a role of a docstring, such as :class:`AMD`, becomes a link."""

import re

import griffe

_ROLE = re.compile(r':(?:class|func|meth|mod|data|attr):`(~?)([\w.]+)`')


class RoleLinks(griffe.Extension):
    """Replaces roles by the optional references of mkdocs-autorefs."""

    def on_object(self, *, obj: griffe.Object, loader: griffe.GriffeLoader) -> None:
        """Change the docstring of an object that was collected."""
        if obj.docstring is None:
            return

        def link(match: re.Match) -> str:
            short, name = match.groups()
            text = name.rpartition('.')[2] if short else name
            try:
                target = obj.resolve(name)
            except griffe.NameResolutionError:
                target = name
            return f'<autoref optional identifier="{target}"><code>{text}</code></autoref>'

        obj.docstring.value = _ROLE.sub(link, obj.docstring.value)
