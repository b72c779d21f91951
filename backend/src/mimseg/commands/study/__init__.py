"""`mimseg study`: test a claim of the paper on own data. For others: `run.study`, `settings.StudySettings`.

What a study asks and how its numbers become a report is in `mimseg.studies`; here the trainings are carried out.
"""
