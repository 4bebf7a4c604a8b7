"""The last stage: plan, record and conditions → text, Markdown and JSON. Pure: data in, one string out.

Whatever comes from files, back-ends or git is hostile until `words.plain` (terminals), `markdown.code`
or `html` has seen it.
"""
