"""The commands such as `run.py`, `test.py` and `migrate.py`, and what they need: an environment, processes, errors.

The law of this room: standard library only, because it runs before anything is installed. Only `doctor/` and
`owner_data/` are for the environment, where the commands start them.

The commands, each with the modules behind it:

run        run_command: start everything, ask one question, or run the doctor
test       check_command, check_runner, result_log: the static checks and the tests
migrate    migration: bring the database up to date
data       data_command: export or delete what is stored of one owner
keys       keys_command, api_keys: the API keys of a state directory
capacity   capacity_command, capacity_plan: how many processes an expected load needs
redis_acl  the users of a Redis with the least rights

system/ is the system that `run.py` starts.

The environment:

environment, installer         the Python environments, made with `venv` and `pip`
page_assets                    the page's libraries
errors                         the errors of this room
"""
